/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Result;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;

/**
 * The records of the topics {@code __signet_access} and {@code __signet_audit}: JSON in UTF-8, with
 * the fields in a fixed order, so that a key is always the same octets.
 *
 * @param count how often, as counted by the node since the topic exists
 * @param first when it was first seen, in epoch milliseconds
 * @param last when it was last seen, in epoch milliseconds
 */
record AccessRecord(long count, long first, long last) {
  /** The version of both formats. */
  static final int VERSION = 1;

  private static final JsonFactory FACTORY = new JsonFactory();
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private interface Fields {
    void write(JsonGenerator json) throws IOException;
  }

  private static byte[] json(Fields fields) {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = FACTORY.createGenerator(text)) {
      json.writeStartObject();
      json.writeNumberField("v", VERSION);
      fields.write(json);
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing to memory", e);
    }
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  /** The key of an access on a node in {@code __signet_access}. */
  static byte[] key(int node, Access access) {
    return json(
        json -> {
          json.writeNumberField("node", node);
          json.writeStringField("principal", access.principal().toString());
          json.writeStringField("clientId", access.clientId());
          resource(json, access);
        });
  }

  private static void resource(JsonGenerator json, Access access) throws IOException {
    json.writeStringField("type", access.type().name());
    json.writeStringField("name", access.name());
    json.writeStringField("operation", access.operation().name());
    json.writeStringField("result", access.result().toString());
  }

  /** The value in {@code __signet_access}. */
  byte[] value() {
    return json(
        json -> {
          json.writeNumberField("count", count);
          json.writeNumberField("first", first);
          json.writeNumberField("last", last);
        });
  }

  /**
   * The value of one access by a person in {@code __signet_audit}, whose key is the principal.
   *
   * @param time in epoch milliseconds
   * @param host the client's address
   */
  static byte[] event(int node, long time, Access access, String host) {
    return json(
        json -> {
          json.writeNumberField("time", time);
          json.writeNumberField("node", node);
          json.writeStringField("principal", access.principal().toString());
          json.writeStringField("clientId", access.clientId());
          json.writeStringField("host", host);
          resource(json, access);
        });
  }

  /**
   * Reads a key.
   *
   * @return null if it is another node's, of another version, or no key at all: anybody with the
   *     right to write to the topic may have put it there
   */
  static Access parseKey(int node, byte[] key) {
    try {
      JsonNode json = MAPPER.readTree(key);
      String principal = json.path("principal").asText();
      int colon = principal.indexOf(':');
      Result result = Result.of(json.path("result").asText());
      if (json.path("v").asInt() != VERSION
          || json.path("node").asInt(-1) != node
          || colon < 0
          || result == null) {
        return null;
      }
      return new Access(
          new KafkaPrincipal(principal.substring(0, colon), principal.substring(colon + 1)),
          json.path("clientId").asText(),
          ResourceType.valueOf(json.path("type").asText()),
          json.path("name").asText(),
          AclOperation.valueOf(json.path("operation").asText()),
          result);
    } catch (IOException | IllegalArgumentException e) {
      return null;
    }
  }

  /** Reads a value; null if it is of another version or no value at all. */
  static AccessRecord parseValue(byte[] value) {
    try {
      JsonNode json = value == null ? MAPPER.nullNode() : MAPPER.readTree(value);
      AccessRecord record =
          new AccessRecord(
              json.path("count").asLong(-1),
              json.path("first").asLong(-1),
              json.path("last").asLong(-1));
      return json.path("v").asInt() == VERSION && record.count > 0 && record.first >= 0
          ? record
          : null;
    } catch (IOException e) {
      return null;
    }
  }

  /** What two counts of one access make together. */
  AccessRecord plus(AccessRecord other) {
    return new AccessRecord(
        count + other.count, Math.min(first, other.first), Math.max(last, other.last));
  }
}
