/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Cell;
import dev.signet.kafka.broker.Decisions.Result;
import dev.signet.kafka.broker.Decisions.Series;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.server.authorizer.Action;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DecisionsTest {
  private static final KafkaPrincipal A = new KafkaPrincipal("User", "a");

  private final AtomicLong clock = new AtomicLong(1_700_000_000_000L);

  private Decisions decisions(int cells, int series) {
    return new Decisions(cells, series, clock::get);
  }

  private static Series read(Decisions decisions, String client, String topic) {
    return decisions.add(A, client, ResourceType.TOPIC, topic, AclOperation.READ, Result.ALLOWED);
  }

  private static Cell cell(Decisions decisions, String client, String topic) {
    return decisions.cell(
        new Access(A, client, ResourceType.TOPIC, topic, AclOperation.READ, Result.ALLOWED));
  }

  @Test
  void countsByClientAndWithout() {
    Decisions decisions = decisions(100, 100);
    read(decisions, "x", "orders");
    clock.addAndGet(5000);
    read(decisions, "x", "orders");
    Series series = read(decisions, "y", "orders");
    read(decisions, null, "other");
    assertEquals(2, cell(decisions, "x", "orders").count());
    assertEquals(1_700_000_000_000L, cell(decisions, "x", "orders").first());
    assertEquals(1_700_000_005_000L, cell(decisions, "x", "orders").last());
    assertEquals(1, cell(decisions, "y", "orders").count());
    assertEquals(1, cell(decisions, "", "other").count());
    assertEquals(3, series.count());
    assertEquals(2, decisions.series().size());
    assertSame(series, decisions.takeNewSeries());
    assertNotNull(decisions.takeNewSeries());
    assertNull(decisions.takeNewSeries());
    assertEquals(0, decisions.dropped());
  }

  @Test
  void keepsToItsBounds() {
    Decisions decisions = decisions(3, 2);
    for (String topic : List.of("a", "b", "c", "d")) {
      for (String client : List.of("x", "y")) {
        read(decisions, client, topic);
      }
    }
    assertEquals(3, decisions.cells().size());
    assertEquals(2, decisions.series().size());
    assertEquals(4, decisions.overflow().count(), "of the topics c and d");
    assertEquals(5, decisions.dropped(), "b's second client, c and d");
    assertEquals(2, read(decisions, "x", "b").count() - 1);
  }

  @Test
  void clientIdsOfOneSeriesAreBounded() {
    Decisions decisions = decisions(10_000, 100);
    for (int client = 0; client < 1000; client++) {
      read(decisions, "random-" + client, "orders");
    }
    assertEquals(Decisions.MAX_CLIENTS + 1, decisions.cells().size());
    assertEquals(
        1000 - Decisions.MAX_CLIENTS, cell(decisions, Decisions.OTHER_CLIENTS, "orders").count());
    assertEquals(0, decisions.dropped());
    read(decisions, "random-1", "orders");
    assertEquals(2, cell(decisions, "random-1", "orders").count());
  }

  @Test
  void cutsWhatStrangersMakeLong() {
    Decisions decisions = decisions(10, 10);
    read(decisions, "c".repeat(300), "n".repeat(30_000));
    Access access = decisions.cells().iterator().next().access();
    assertEquals(Decisions.MAX_CLIENT_ID, access.clientId().length());
    assertEquals(Decisions.MAX_NAME, access.name().length());
    assertTrue(access.name().endsWith("n…"));
    String pairs = "\ud83d\ude00".repeat(200);
    read(decisions, "x" + pairs, "other");
    assertNotNull(cell(decisions, "x" + "\ud83d\ude00".repeat(127), "other"));
  }

  @ParameterizedTest
  @CsvSource({
    "TOPIC, true,  true,  ALLOWED,   true",
    "TOPIC, true,  false, ALLOWED,   false", // a filter of a list
    "TOPIC, false, false, ALLOWED,   false", // what might be done
    "TOPIC, true,  true,  TOLERATED, true",
    "TOPIC, true,  false, TOLERATED, false",
    "TOPIC, true,  false, DENIED,    false",
    "GROUP, false, true,  DENIED,    true",
    "CLUSTER, true, false, ALLOWED,  true", // CREATE on the cluster, before that on the topic
    "CLUSTER, true, false, DENIED,   false",
  })
  void tellsAccessFromAsking(
      ResourceType type, boolean logIfAllowed, boolean logIfDenied, Result result, boolean want) {
    Action action =
        new Action(
            AclOperation.DESCRIBE,
            new ResourcePattern(type, "x", PatternType.LITERAL),
            1,
            logIfAllowed,
            logIfDenied);
    assertEquals(want, Decisions.isAccess(action, result));
  }

  @Test
  void linesAreSeldom() {
    Series series = read(decisions(10, 10), "x", "orders");
    assertTrue(series.takesLine(1000, 60_000));
    assertFalse(series.takesLine(60_999, 60_000));
    assertTrue(series.takesLine(61_000, 60_000));
  }

  /** Nothing is lost, and nothing counted twice, whichever thread comes first. */
  @Test
  void countsUnderContention() throws Exception {
    int threads = 4;
    int rounds = 40_000;
    for (int[] bounds : new int[][] {{100_000, 10_000}, {300, 40}}) {
      Decisions decisions = decisions(bounds[0], bounds[1]);
      ExecutorService pool = Executors.newFixedThreadPool(threads + 1);
      AtomicBoolean done = new AtomicBoolean();
      try {
        List<Future<?>> writers = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
          int seed = thread;
          writers.add(
              pool.submit(
                  () -> {
                    Random random = new Random(seed);
                    for (int i = 0; i < rounds; i++) {
                      read(decisions, "c" + random.nextInt(10), "t" + random.nextInt(50));
                      clock.incrementAndGet();
                    }
                  }));
        }
        Future<?> reader =
            pool.submit(
                () -> {
                  long before = 0;
                  while (!done.get()) {
                    long now = decisions.cells().stream().mapToLong(Cell::count).sum();
                    assertTrue(now >= before, "counts went down");
                    before = now;
                  }
                });
        for (Future<?> writer : writers) {
          writer.get();
        }
        done.set(true);
        reader.get();
      } finally {
        done.set(true);
        pool.shutdownNow();
      }
      long counted = decisions.cells().stream().mapToLong(Cell::count).sum();
      assertEquals((long) threads * rounds, counted + decisions.dropped());
      long inSeries = decisions.series().stream().mapToLong(Series::count).sum();
      assertEquals((long) threads * rounds, inSeries + decisions.overflow().count());
      assertEquals(Math.min(500, bounds[0]), decisions.cells().size());
      assertEquals(Math.min(50, bounds[1]), decisions.series().size());
    }
  }
}
