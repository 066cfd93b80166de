/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import java.util.Map;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.network.ListenerName;
import org.junit.jupiter.api.Test;

class MappingFileConfigTest {
  @Test
  void hasDefaults() {
    assertEquals(
        new MappingFileConfig(Path.of("/etc/kafka-signet/mapping.json"), 2000),
        MappingFileConfig.of(Map.of(), "MTLS"));
  }

  @Test
  void listenerTakesPrecedence() {
    String prefix = new ListenerName("Mutual-TLS").configPrefix();
    Map<String, ?> configs =
        Map.of(
            prefix + "signet.mapping.file",
            "/of/listener",
            prefix + "signet.mapping.poll.ms",
            "100",
            "listener.name.other.signet.mapping.file",
            "/of/other",
            "signet.mapping.file",
            "/of/broker",
            "signet.mapping.poll.ms",
            300);
    assertEquals(
        new MappingFileConfig(Path.of("/of/listener"), 100),
        MappingFileConfig.of(configs, "Mutual-TLS"));
    assertEquals(
        new MappingFileConfig(Path.of("/of/broker"), 300),
        MappingFileConfig.of(configs, "INTERNAL"));
  }

  @Test
  void refusesNonsense() {
    for (Map<String, ?> configs :
        java.util.List.of(
            Map.of("signet.mapping.poll.ms", "99"),
            Map.of("signet.mapping.poll.ms", "often"),
            Map.of("signet.mapping.file", ""),
            Map.of("signet.mapping.file", "a\0b"),
            Map.of("listener.name.mtls.signet.mapping.poll.ms", -1))) {
      assertThrows(ConfigException.class, () -> MappingFileConfig.of(configs, "MTLS"));
    }
  }
}
