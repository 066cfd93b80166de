/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Result;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The octets of the topics, which the Go side reads. */
class AccessRecordTest {
  private static final Access ACCESS =
      new Access(
          new KafkaPrincipal("User", "a.b"),
          "x",
          ResourceType.TOPIC,
          "orders",
          AclOperation.READ,
          Result.ALLOWED);

  private static String text(byte[] octets) {
    return new String(octets, StandardCharsets.UTF_8);
  }

  @Test
  void isExactlyTheFormat() {
    assertEquals(
        "{\"v\":1,\"node\":1,\"principal\":\"User:a.b\",\"clientId\":\"x\",\"type\":\"TOPIC\","
            + "\"name\":\"orders\",\"operation\":\"READ\",\"result\":\"allowed\"}",
        text(AccessRecord.key(1, ACCESS)));
    assertEquals(
        "{\"v\":1,\"count\":123,\"first\":1700000000000,\"last\":1700000000001}",
        text(new AccessRecord(123, 1700000000000L, 1700000000001L).value()));
    assertEquals(
        "{\"v\":1,\"time\":1700000000000,\"node\":1,\"principal\":\"User:a.b\",\"clientId\":\"x\","
            + "\"host\":\"1.2.3.4\",\"type\":\"TOPIC\",\"name\":\"orders\",\"operation\":\"READ\","
            + "\"result\":\"allowed\"}",
        text(AccessRecord.event(1, 1700000000000L, ACCESS, "1.2.3.4")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "plain",
        "",
        "a:b",
        "quote\" back\\slash",
        "line\nfeed\u0000",
        "Bücher \ud83d\ude00"
      })
  void readsWhatItWrites(String odd) {
    for (Result result : Result.values()) {
      Access access =
          new Access(
              new KafkaPrincipal("User", odd),
              odd,
              ResourceType.TRANSACTIONAL_ID,
              odd,
              AclOperation.DESCRIBE_CONFIGS,
              result);
      assertEquals(access, AccessRecord.parseKey(7, AccessRecord.key(7, access)));
      assertNull(AccessRecord.parseKey(8, AccessRecord.key(7, access)), "another node's");
    }
    AccessRecord record = new AccessRecord(Long.MAX_VALUE, 1, 2);
    assertEquals(record, AccessRecord.parseValue(record.value()));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "[]",
        "null",
        "1",
        "{\"v\":2}",
        "{\"v\":1}",
        "{\"v\":1,\"count\":0,\"first\":1,\"last\":1}",
        "{\"v\":1,\"count\":-1,\"first\":1,\"last\":1}",
        "{\"v\":2,\"count\":1,\"first\":1,\"last\":1}",
        "{\"v\":1,\"node\":1,\"principal\":\"a\",\"clientId\":\"x\",\"type\":\"TOPIC\",\"name\":\"orders\",\"operation\":\"READ\",\"result\":\"allowed\"}",
        "{\"v\":1,\"node\":1,\"principal\":\"User:a\",\"clientId\":\"x\",\"type\":\"TOPICS\",\"name\":\"orders\",\"operation\":\"READ\",\"result\":\"allowed\"}",
        "{\"v\":1,\"node\":1,\"principal\":\"User:a\",\"clientId\":\"x\",\"type\":\"TOPIC\",\"name\":\"orders\",\"operation\":\"READ\",\"result\":\"perhaps\"}",
      })
  void leavesAloneWhatIsNoRecord(String text) {
    byte[] octets = text.getBytes(StandardCharsets.UTF_8);
    assertNull(AccessRecord.parseKey(1, octets));
    assertNull(AccessRecord.parseValue(octets));
  }

  @Test
  void tombstoneIsNoValue() {
    assertNull(AccessRecord.parseValue(null));
  }

  @Test
  void goesOnFromEarlierCounts() {
    assertEquals(
        new AccessRecord(12, 100, 900),
        new AccessRecord(10, 100, 200).plus(new AccessRecord(2, 800, 900)));
  }
}
