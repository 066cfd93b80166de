/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Result;
import java.util.Map;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.junit.jupiter.api.Test;

/** What the log does without Kafka; the tests of test/authorizer have a Kafka. */
class AccessLogTest {
  private static final Access ACCESS =
      new Access(
          new KafkaPrincipal("User", "ann"),
          "x",
          ResourceType.TOPIC,
          "orders",
          AclOperation.READ,
          Result.ALLOWED);

  private static AccessLog.Config config(Map<String, Object> clients) {
    return new AccessLog.Config(clients, 100, -1, (short) -1);
  }

  private static Decisions decisions() {
    return new Decisions(10, 10, System::currentTimeMillis);
  }

  /** Nothing listens at port 1, so that all events wait until there is no room. */
  @Test
  void dropsAndCountsWhatThereIsNoRoomFor() throws Exception {
    AccessLog log =
        AccessLog.open(901, config(Map.of("bootstrap.servers", "127.0.0.1:1")), decisions());
    try {
      int more = 5000;
      for (int i = 0; i < 2 * AccessLog.MAX_EVENTS + more; i++) {
        log.event(1, ACCESS, "10.0.0.1");
      }
      for (int i = 0; i < 6000 && log.droppedEvents() < more; i++) {
        Thread.sleep(10);
      }
      assertTrue(log.droppedEvents() >= more, log.droppedEvents() + " dropped");
      assertFalse(log.isReady());
      assertEquals(-1, log.secondsSinceFlush());
    } finally {
      log.close();
    }
  }

  @Test
  void brokerAndControllerOfANodeShareOne() {
    AccessLog broker = AccessLog.open(902, config(Map.of()), decisions());
    AccessLog controller = AccessLog.open(902, config(Map.of()), decisions());
    assertSame(broker, controller);
    broker.close();
    AccessLog third = AccessLog.open(902, config(Map.of()), decisions());
    assertSame(controller, third, "it is open until the last has closed it");
    third.close();
    controller.close();
    AccessLog next = AccessLog.open(902, config(Map.of()), decisions());
    assertNotSame(controller, next);
    next.close();
  }

  @Test
  void settingsAreNotPrintedWithTheirValues() {
    String text = config(Map.of("ssl.key.password", "secret")).toString();
    assertTrue(text.contains("ssl.key.password"), text);
    assertFalse(text.contains("secret"), text);
  }

  @Test
  void doesNotCountWhatItWritesItself() {
    for (String topic : new String[] {AccessLog.ACCESS, AccessLog.AUDIT}) {
      for (AclOperation operation : AclOperation.values()) {
        boolean isOwn =
            operation == AclOperation.WRITE
                || operation == AclOperation.DESCRIBE
                || operation == AclOperation.CLUSTER_ACTION;
        assertEquals(isOwn, AccessLog.isOwn(ResourceType.TOPIC, topic, operation, Result.ALLOWED));
        assertFalse(AccessLog.isOwn(ResourceType.TOPIC, topic, operation, Result.DENIED));
        assertFalse(AccessLog.isOwn(ResourceType.TOPIC, topic, operation, Result.TOLERATED));
      }
      assertFalse(
          AccessLog.isOwn(ResourceType.GROUP, topic, AclOperation.DESCRIBE, Result.ALLOWED));
    }
  }
}
