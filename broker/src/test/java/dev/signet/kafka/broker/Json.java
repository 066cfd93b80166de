/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A mapping file in the making. */
final class Json {
  private final Map<String, Object> fields = new LinkedHashMap<>();
  private final Map<String, String> exact = new LinkedHashMap<>();
  private final Map<String, String> spiffe = new LinkedHashMap<>();
  private final List<Object> patterns = new ArrayList<>();
  private final List<Object> shards = new ArrayList<>();

  static Json file() {
    Json json = new Json();
    json.fields.put("version", 1);
    json.fields.put("cluster", "kafka/kafka");
    json.fields.put("generation", 1);
    json.fields.put("unmapped", "refuse");
    return json;
  }

  static Json shard() {
    Json json = new Json();
    json.fields.put("version", 1);
    return json;
  }

  Json with(String field, Object value) {
    fields.put(field, value);
    return this;
  }

  Json exact(String subject, String principal) {
    exact.put(subject, principal);
    return this;
  }

  Json spiffe(String id, String principal) {
    spiffe.put(id, principal);
    return this;
  }

  Json pattern(String pattern, String principal) {
    patterns.add(Map.of("pattern", pattern, "principal", principal));
    return this;
  }

  Json shard(String file, byte[] content) {
    shards.add(Map.of("file", file, "sha256", Mapping.sha256(content)));
    return this;
  }

  byte[] bytes() {
    Map<String, Object> all = new LinkedHashMap<>(fields);
    all.putIfAbsent("exact", exact);
    all.putIfAbsent("spiffe", spiffe);
    if (!patterns.isEmpty()) {
      all.putIfAbsent("patterns", patterns);
    }
    if (!shards.isEmpty()) {
      all.putIfAbsent("shards", shards);
    }
    try {
      return new ObjectMapper().writeValueAsString(all).getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  String text() {
    return new String(bytes(), StandardCharsets.UTF_8);
  }

  Mapping mapping() throws FormatException {
    return Mapping.parse(bytes(), Map.of());
  }
}
