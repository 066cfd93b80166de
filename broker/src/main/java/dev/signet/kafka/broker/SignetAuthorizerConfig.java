/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
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
 */
record SignetAuthorizerConfig(Path file, long pollMs, Authorization.Mode modeAtStart, Rules rules) {
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
                  + " shadow, by StandardAuthorizer, with the index's answers compared.");

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
          Rules.valueOf(((String) values.get(INDEX)).toUpperCase(Locale.ROOT)));
    } catch (InvalidPathException e) {
      throw new ConfigException(FILE, file, e.getMessage());
    }
  }
}
