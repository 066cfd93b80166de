// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

import java.io.FileInputStream;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Locale;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts words: from the topic lines, by a repartition topic and a state store with a changelog, into the topic counts. It
 * runs until it is killed, and ends with 1 when anything fails.
 */
final class WordCount {
  private WordCount() {}

  /**
   * Runs with the client configuration in a file.
   *
   * @param args the file and the application id
   */
  public static void main(String[] args) throws Exception {
    Properties properties = new Properties();
    try (InputStream file = new FileInputStream(args[0])) {
      properties.load(file);
    }
    properties.put("application.id", args[1]);
    properties.put("commit.interval.ms", "200");
    properties.put("default.key.serde", Serdes.StringSerde.class.getName());
    properties.put("default.value.serde", Serdes.StringSerde.class.getName());
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream("lines", Consumed.with(Serdes.String(), Serdes.String()))
        .flatMapValues(line -> Arrays.asList(line.toLowerCase(Locale.ROOT).split(" ")))
        .groupBy((key, word) -> word)
        .count(Materialized.as("words"))
        .toStream()
        .mapValues(String::valueOf)
        .to("counts", Produced.with(Serdes.String(), Serdes.String()));
    try (KafkaStreams streams = new KafkaStreams(builder.build(), properties)) {
      streams.setUncaughtExceptionHandler(
          failure -> {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
          });
      streams.start();
      Thread.currentThread().join();
    }
  }
}
