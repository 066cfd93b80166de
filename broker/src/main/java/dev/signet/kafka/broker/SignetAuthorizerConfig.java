/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.net.InetSocketAddress;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;

/**
 * What server.properties says to {@link SignetAuthorizer}.
 *
 * @param file path of authorization.json
 * @param pollMs how often it is read, in milliseconds
 * @param modeAtStart what holds while no good file was ever read
 * @param rules by which path Kafka's rules are decided
 * @param maxSeries bound of the series of the metric of decisions
 * @param maxAccesses bound of the accesses that are counted by client
 * @param metricsAddress where metrics are served, or null
 * @param accessLog where what is counted is written
 */
record SignetAuthorizerConfig(
    Path file,
    long pollMs,
    Authorization.Mode modeAtStart,
    Rules rules,
    int maxSeries,
    int maxAccesses,
    InetSocketAddress metricsAddress,
    AccessLog.Config accessLog) {
  /** By which path Kafka's rules are decided. */
  enum Rules {
    /** Signet's index. */
    INDEX,
    /** Kafka's StandardAuthorizer; the index is not kept. */
    KAFKA,
    /** Kafka's, and the index beside it; differences are counted and logged. */
    SHADOW
  }

  /** Path of authorization.json. */
  static final String FILE = "signet.authorization.file";

  /** How often authorization.json is read. */
  static final String POLL_MS = "signet.authorization.poll.ms";

  /** The mode while no good file was ever read. */
  static final String MODE_AT_START = "signet.authorization.mode.at.start";

  /** The path by which Kafka's rules are decided. */
  static final String INDEX = "signet.authorizer.index";

  /** Where metrics are served. */
  static final String METRICS_ADDRESS = "signet.metrics.address";

  /** Bound of the series of the metric of decisions. */
  static final String METRICS_SERIES = "signet.metrics.series";

  /** Bound of what the access log tells apart. */
  static final String ACCESS_ENTRIES = "signet.access.entries";

  /** How often the access log is written. */
  static final String ACCESS_FLUSH_MS = "signet.access.flush.ms";

  /** Partitions of the topics of the access log. */
  static final String ACCESS_PARTITIONS = "signet.access.topic.partitions";

  /** Replication factor of the topics of the access log. */
  static final String ACCESS_REPLICATION = "signet.access.topic.replication.factor";

  /** Prefix of the settings of the clients that write and read the topics of the access log. */
  static final String ACCESS_CLIENTS = "signet.access.producer.";

  /** The keys that brokers and controllers may set. */
  static final ConfigDef DEFINITION =
      new ConfigDef()
          .define(
              FILE,
              ConfigDef.Type.STRING,
              "/etc/kafka-signet/authorization.json",
              new ConfigDef.NonEmptyString(),
              ConfigDef.Importance.HIGH,
              "Path of authorization.json, which says whose denials count. Mount the ConfigMap as a directory: a"
                  + " subPath mount is never updated.")
          .define(
              POLL_MS,
              ConfigDef.Type.LONG,
              MappingFileConfig.POLL_MS_DEFAULT,
              ConfigDef.Range.atLeast(MappingFileConfig.POLL_MS_MIN),
              ConfigDef.Importance.LOW,
              "How often the content of authorization.json is read and compared, in milliseconds.")
          .define(
              MODE_AT_START,
              ConfigDef.Type.STRING,
              Authorization.Mode.ENFORCE.toString(),
              ConfigDef.ValidString.in(texts(Authorization.Mode.values())),
              ConfigDef.Importance.HIGH,
              "The mode, Audit, Hybrid or Enforce, while no good authorization.json was ever read, with no exceptions."
                  + " Audit keeps every client going and every denial without effect until the file is there.")
          .define(
              INDEX,
              ConfigDef.Type.STRING,
              "index",
              ConfigDef.ValidString.in("index", "kafka", "shadow"),
              ConfigDef.Importance.LOW,
              "How Kafka's rules are decided: index, by Signet's index of ACLs; kafka, by StandardAuthorizer itself;"
                  + " shadow, by StandardAuthorizer, with the index's answers compared.")
          .define(
              METRICS_ADDRESS,
              ConfigDef.Type.STRING,
              "",
              ConfigDef.Importance.MEDIUM,
              "host:port at which metrics are served to Prometheus, at /metrics, in plain HTTP; not at all if empty.")
          .define(
              METRICS_SERIES,
              ConfigDef.Type.INT,
              10_000,
              ConfigDef.Range.between(1, 1_000_000),
              ConfigDef.Importance.LOW,
              "Series of the metric of decisions; what comes later is counted in one series, overflow.")
          .define(
              ACCESS_ENTRIES,
              ConfigDef.Type.INT,
              50_000,
              ConfigDef.Range.between(1, 1_000_000),
              ConfigDef.Importance.LOW,
              "Accesses that are counted by client; what comes later is counted in metrics only.")
          .define(
              ACCESS_FLUSH_MS,
              ConfigDef.Type.LONG,
              5000,
              ConfigDef.Range.between(100, 3_600_000),
              ConfigDef.Importance.LOW,
              "How often counts are written to the topic "
                  + AccessLog.ACCESS
                  + ", in milliseconds: what a killed broker loses at most.")
          .define(
              ACCESS_PARTITIONS,
              ConfigDef.Type.INT,
              -1,
              ConfigDef.Importance.LOW,
              "Partitions of the topics if they have to be made; -1 for the brokers' default.")
          .define(
              ACCESS_REPLICATION,
              ConfigDef.Type.SHORT,
              (short) -1,
              ConfigDef.Importance.LOW,
              "Replication factor of the topics if they have to be made; -1 for the brokers' default.");

  private static String[] texts(Object[] values) {
    return Arrays.stream(values).map(Object::toString).toArray(String[]::new);
  }

  /**
   * Reads the configuration, and errs with {@link ConfigException}.
   *
   * @param configs what Kafka hands to {@code configure}
   */
  static SignetAuthorizerConfig of(Map<String, ?> configs) {
    Map<String, Object> values = DEFINITION.parse(configs);
    String file = (String) values.get(FILE);
    try {
      return new SignetAuthorizerConfig(
          Path.of(file),
          (Long) values.get(POLL_MS),
          Authorization.Mode.of((String) values.get(MODE_AT_START)),
          Rules.valueOf(((String) values.get(INDEX)).toUpperCase(Locale.ROOT)),
          (Integer) values.get(METRICS_SERIES),
          (Integer) values.get(ACCESS_ENTRIES),
          address((String) values.get(METRICS_ADDRESS)),
          new AccessLog.Config(
              withPrefix(configs, ACCESS_CLIENTS),
              (Long) values.get(ACCESS_FLUSH_MS),
              (Integer) values.get(ACCESS_PARTITIONS),
              (Short) values.get(ACCESS_REPLICATION)));
    } catch (InvalidPathException e) {
      throw new ConfigException(FILE, file, e.getMessage());
    }
  }

  /** Reads host:port, [address]:port or :port, which is every address of this host. */
  private static InetSocketAddress address(String text) {
    if (text.isEmpty()) {
      return null;
    }
    int colon = text.lastIndexOf(':');
    String host = colon < 0 ? "" : text.substring(0, colon).replaceAll("^\\[(.*)\\]$", "$1");
    try {
      int port = Integer.parseInt(text.substring(colon + 1));
      return colon <= 0 ? new InetSocketAddress(port) : new InetSocketAddress(host, port);
    } catch (IllegalArgumentException e) {
      throw new ConfigException(METRICS_ADDRESS, text, "it is not host:port");
    }
  }

  private static Map<String, Object> withPrefix(Map<String, ?> configs, String prefix) {
    Map<String, Object> found = new HashMap<>();
    configs.forEach(
        (key, value) -> {
          if (key.startsWith(prefix)) {
            found.put(key.substring(prefix.length()), value);
          }
        });
    return Map.copyOf(found);
  }
}
