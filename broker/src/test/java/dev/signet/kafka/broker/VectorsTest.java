/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What every implementation of mapping.json must agree on; the Go side writes it. */
class VectorsTest {
  record Vector(String name, JsonNode content) {
    @Override
    public String toString() {
      return name;
    }
  }

  static List<Vector> vectors() throws Exception {
    return vectors("mapping");
  }

  /** The vectors of a folder in test/vectors. */
  static List<Vector> vectors(String folder) throws Exception {
    Path directory = Path.of(System.getProperty("signet.vectors", "../test/vectors"), folder);
    List<Path> files;
    try (Stream<Path> all = Files.list(directory)) {
      files = all.filter(file -> file.toString().endsWith(".json")).sorted().toList();
    }
    List<Vector> vectors = new ArrayList<>();
    for (Path file : files) {
      JsonNode content = new ObjectMapper().readTree(Files.readAllBytes(file));
      for (JsonNode one : content.isArray() ? content : List.of(content)) {
        vectors.add(new Vector(file.getFileName() + ": " + one.path("name").asText(), one));
      }
    }
    assertFalse(vectors.isEmpty(), "no vectors in " + directory.toAbsolutePath());
    return vectors;
  }

  @ParameterizedTest
  @MethodSource("vectors")
  void agrees(Vector vector) throws Exception {
    JsonNode content = vector.content;
    byte[] text = content.required("file").textValue().getBytes(StandardCharsets.UTF_8);
    Map<String, byte[]> shards = new HashMap<>();
    content
        .path("shards")
        .properties()
        .forEach(
            shard ->
                shards.put(
                    shard.getKey(), shard.getValue().textValue().getBytes(StandardCharsets.UTF_8)));
    if (!content.required("error").textValue().isEmpty()) {
      assertThrows(FormatException.class, () -> Mapping.parse(text, shards));
      return;
    }
    Mapping mapping = Mapping.parse(text, shards);
    for (JsonNode peer : content.path("peers")) {
      List<String> uris = new ArrayList<>();
      peer.path("uris").forEach(uri -> uris.add(uri.textValue()));
      String subject = peer.required("subject").textValue();
      assertEquals(
          peer.path("principal").asText() + "|" + peer.path("refused").asText(),
          decide(mapping, HexFormat.of().parseHex(subject), uris),
          () -> "peer " + subject + " " + uris);
    }
  }

  private static String decide(Mapping mapping, byte[] subject, List<String> uris) {
    try {
      Decision decision = mapping.decide(Peer.of(subject, uris));
      return decision instanceof Decision.Mapped mapped
          ? mapped.name() + "|"
          : "|" + ((Decision.Refused) decision).reason().code();
    } catch (Peer.MalformedException e) {
      return "|" + e.reason().code();
    }
  }
}
