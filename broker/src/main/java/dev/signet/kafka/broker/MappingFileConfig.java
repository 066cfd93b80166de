/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;

/**
 * Which mapping file a listener uses.
 *
 * <p>Kafka 4.3 hands a principal builder the broker's whole configuration, in which it has resolved
 * the prefix {@code listener.name.<listener>.} of keys that it knows itself only ({@code
 * ChannelBuilders.channelBuilderConfigs}, {@code AbstractConfig.valuesWithPrefixOverride}). So
 * {@code listener.name.mtls.signet.mapping.file} arrives under its full name, and the prefix is
 * resolved here, when a connection tells its listener.
 *
 * @param file path of mapping.json; its shards are beside it
 * @param pollMs how often it is read, in milliseconds
 */
record MappingFileConfig(Path file, long pollMs) {
  /** Path of the mapping file. */
  static final String FILE = "signet.mapping.file";

  static final String FILE_DEFAULT = "/etc/kafka-signet/mapping.json";
  static final String FILE_DOC =
      "Path of mapping.json, which says which certificate subject and SPIFFE ID is which principal. Its shards are in"
          + " the same directory. Mount the ConfigMap as a directory: a subPath mount is never updated.";

  /** How often the mapping file is read. */
  static final String POLL_MS = "signet.mapping.poll.ms";

  static final long POLL_MS_DEFAULT = 2000;
  static final long POLL_MS_MIN = 100;
  static final String POLL_MS_DOC =
      "How often the content of the mapping file is read and compared, in milliseconds. A change is in force for the"
          + " next request of every connection after at most this time.";

  /**
   * The keys that brokers may set, also with the prefix {@code listener.name.<listener>.}, which
   * takes precedence.
   */
  static final ConfigDef DEFINITION =
      new ConfigDef()
          .define(
              FILE,
              ConfigDef.Type.STRING,
              FILE_DEFAULT,
              new ConfigDef.NonEmptyString(),
              ConfigDef.Importance.HIGH,
              FILE_DOC)
          .define(
              POLL_MS,
              ConfigDef.Type.LONG,
              POLL_MS_DEFAULT,
              ConfigDef.Range.atLeast(POLL_MS_MIN),
              ConfigDef.Importance.LOW,
              POLL_MS_DOC);

  /**
   * Reads the configuration of a listener, and errs with {@link ConfigException}.
   *
   * @param configs what Kafka hands to {@code configure}
   * @param listener name of the listener, as in {@code listeners}
   */
  static MappingFileConfig of(Map<String, ?> configs, String listener) {
    String prefix = "listener.name." + listener.toLowerCase(Locale.ROOT) + ".";
    String file = (String) value(configs, prefix, FILE);
    try {
      return new MappingFileConfig(Path.of(file), (Long) value(configs, prefix, POLL_MS));
    } catch (InvalidPathException e) {
      throw new ConfigException(FILE, file, e.getMessage());
    }
  }

  private static Object value(Map<String, ?> configs, String prefix, String name) {
    String given = configs.containsKey(prefix + name) ? prefix + name : name;
    ConfigDef.ConfigKey key = DEFINITION.configKeys().get(name);
    Object value =
        configs.containsKey(given)
            ? ConfigDef.parseType(given, configs.get(given), key.type)
            : key.defaultValue;
    key.validator.ensureValid(given, value);
    return value;
  }
}
