/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class RefusalsTest {
  private final AtomicLong clock = new AtomicLong(Long.MAX_VALUE - 5); // nanoTime may wrap around
  private final List<String> lines = new ArrayList<>();
  private final Refusals refusals = new Refusals(clock::get, lines::add);

  private void pass(long seconds) {
    clock.addAndGet(TimeUnit.SECONDS.toNanos(seconds));
  }

  @Test
  void logsAReasonAndSubjectOnceInAMinute() {
    for (int i = 0; i < 100; i++) {
      refusals.record(Reason.UNMAPPED, "a", "a unmapped");
      refusals.record(Reason.DISAGREEMENT, "a", "a disagreement");
      refusals.record(Reason.UNMAPPED, "b", "b unmapped");
    }
    assertEquals(List.of("a unmapped", "a disagreement", "b unmapped"), lines);
    assertEquals(200, refusals.count(Reason.UNMAPPED));
    assertEquals(100, refusals.count(Reason.DISAGREEMENT));
    lines.clear();
    pass(59);
    refusals.record(Reason.UNMAPPED, "a", "again");
    assertTrue(lines.isEmpty());
    pass(1);
    refusals.record(Reason.UNMAPPED, "a", "again");
    assertEquals(List.of("again (298 further refusals were not logged)"), lines);
  }

  @Test
  void subjectsWithoutEndFillNeitherLogNorMemory() {
    for (int i = 0; i < 100_000; i++) {
      refusals.record(Reason.UNMAPPED, "CN=" + i, "line");
    }
    assertEquals(Refusals.MAX_REMEMBERED, lines.size());
    assertEquals(Refusals.MAX_REMEMBERED, refusals.remembered());
    assertEquals(100_000, refusals.count(Reason.UNMAPPED));
    pass(Refusals.INTERVAL_SECONDS);
    refusals.record(Reason.UNMAPPED, "CN=0", "line");
    assertEquals(1, refusals.remembered());
  }

  @Test
  void subjectForgesNoLine() {
    String quoted = Printable.quote("CN=a\"\r\nERROR \u001b[31m \u202e \u2028 \ud800");
    assertEquals("\"CN=a\\\"\\u000d\\u000aERROR \\u001b[31m \\u202e \\u2028 \\ud800\"", quoted);
  }

  @Test
  void longSubjectIsCut() {
    String quoted = Printable.quote("\n".repeat(100_000));
    assertTrue(quoted.length() < 6 * Printable.MAX_LENGTH + 50);
    assertTrue(quoted.endsWith("(100000 characters)"));
    assertFalse(Printable.quote("CN=é,O=日本").contains("\\"), "names of people are readable");
  }
}
