/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static dev.signet.kafka.broker.Authorizers.allow;
import static dev.signet.kafka.broker.Authorizers.context;
import static dev.signet.kafka.broker.Authorizers.deny;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.metadata.authorizer.StandardAcl;
import org.apache.kafka.metadata.authorizer.StandardAuthorizer;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Readers while ACLs change: every answer is that of one state between the last change that was
 * over when the question was asked, and the last that had begun when it was answered.
 */
class AuthorizerConcurrencyTest {
  private static final int STATES = 400;
  private static final List<String> NAMES = List.of("a", "ab", "abc", "b");
  private static final List<String> PRINCIPALS = List.of("User:a", "User:b", "User:*");

  /** All questions to one principal, of whose answers there is no log. */
  private static final List<Action> ACTIONS =
      NAMES.stream()
          .map(name -> new ResourcePattern(ResourceType.TOPIC, name, PatternType.LITERAL))
          .map(resource -> new Action(AclOperation.READ, resource, 1, false, false))
          .toList();

  @TempDir Path directory;

  /** A change of ACLs: an ACL added, an ACL removed, or all ACLs replaced. */
  private record Change(Uuid added, StandardAcl acl, Uuid removed, Map<Uuid, StandardAcl> all) {
    private void apply(StandardAuthorizer authorizer) {
      if (all != null) {
        authorizer.loadSnapshot(all);
      } else if (acl != null) {
        authorizer.addAcl(added, acl);
      } else {
        authorizer.removeAcl(removed);
      }
    }
  }

  private static List<Change> changes(Random random) {
    List<Change> changes = new ArrayList<>();
    Map<Uuid, StandardAcl> acls = new HashMap<>();
    while (changes.size() < STATES) {
      String principal = PRINCIPALS.get(random.nextInt(PRINCIPALS.size()));
      String name = NAMES.get(random.nextInt(NAMES.size()));
      PatternType pattern = random.nextBoolean() ? PatternType.LITERAL : PatternType.PREFIXED;
      StandardAcl acl =
          random.nextInt(3) == 0
              ? deny(ResourceType.TOPIC, name, pattern, principal, AclOperation.READ)
              : allow(ResourceType.TOPIC, name, pattern, principal, AclOperation.READ);
      Uuid id = new Uuid(random.nextLong(), random.nextLong());
      if (random.nextInt(20) == 0) {
        acls.clear();
        acls.put(id, acl);
        changes.add(new Change(null, null, null, Map.copyOf(acls)));
      } else if (random.nextInt(8) < acls.size()) {
        Uuid gone = List.copyOf(acls.keySet()).get(random.nextInt(acls.size()));
        acls.remove(gone);
        changes.add(new Change(null, null, gone, null));
      } else if (!acls.containsValue(acl)) {
        acls.put(id, acl);
        changes.add(new Change(id, acl, null, null));
      }
    }
    return changes;
  }

  /** All questions, and the bit of each that is answered with yes. */
  private static BitSet answers(StandardAuthorizer authorizer) {
    BitSet answers = new BitSet();
    int bit = 0;
    for (String principal : List.of("User:a", "User:b", "User:c")) {
      for (AuthorizationResult result : authorizer.authorize(context(principal), ACTIONS)) {
        answers.set(bit++, result == AuthorizationResult.ALLOWED);
      }
    }
    return answers;
  }

  @Test
  void everyAnswerIsOfOneState() throws Exception {
    try (AuthorizationFile.Set files =
        new AuthorizationFile.Set(ManagementFactory.getPlatformMBeanServer(), System::nanoTime)) {
      for (int round = 0; round < 20; round++) {
        long seed = System.nanoTime();
        List<Change> changes = changes(new Random(seed));
        Map<String, Object> configs = Authorizers.configs(directory, "Enforce");
        configs.put("allow.everyone.if.no.acl.found", round % 2 == 0);
        List<BitSet> expected = new ArrayList<>();
        StandardAuthorizer kafka = Authorizers.start(new StandardAuthorizer(), configs);
        expected.add(answers(kafka));
        for (Change change : changes) {
          change.apply(kafka);
          expected.add(answers(kafka));
        }
        run(Authorizers.start(new SignetAuthorizer(files), configs), changes, expected, seed);
      }
    }
  }

  /** Asks all questions of one principal at once, which one snapshot answers. */
  private static void run(
      SignetAuthorizer signet, List<Change> changes, List<BitSet> expected, long seed)
      throws Exception {
    AtomicInteger begun = new AtomicInteger();
    AtomicInteger over = new AtomicInteger();
    AtomicInteger readersReady = new AtomicInteger();
    AtomicInteger asked = new AtomicInteger();
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<Integer>> readers = new ArrayList<>();
      for (int reader = 0; reader < 3; reader++) {
        int caller = reader;
        String principal = List.of("User:a", "User:b", "User:c").get(reader);
        readers.add(
            threads.submit(
                () -> {
                  int count = 0;
                  readersReady.incrementAndGet();
                  boolean last = false;
                  while (!last) {
                    last = over.get() == changes.size();
                    int from = over.get();
                    List<AuthorizationResult> results =
                        signet.authorize(context(principal), ACTIONS);
                    int to = begun.get();
                    asked.incrementAndGet();
                    count++;
                    assertTrue(
                        isOfOneState(results, expected, caller, from, to),
                        "seed "
                            + seed
                            + ": "
                            + principal
                            + " got "
                            + results
                            + " in states "
                            + from
                            + " to "
                            + to);
                  }
                  return count;
                }));
      }
      Future<?> writer =
          threads.submit(
              () -> {
                while (readersReady.get() < 3) {
                  Thread.onSpinWait();
                }
                for (Change change : changes) {
                  begun.incrementAndGet();
                  change.apply(signet);
                  over.incrementAndGet();
                  int before = asked.get();
                  // Not faster than somebody asks, so that the changes are not over before.
                  while (asked.get() == before && readers.stream().noneMatch(Future::isDone)) {
                    Thread.onSpinWait();
                  }
                }
              });
      writer.get();
      int total = 0;
      for (Future<Integer> reader : readers) {
        total += reader.get();
      }
      assertTrue(total >= STATES, total + " questions");
      assertEquals(expected.get(expected.size() - 1), answers(signet));
    } finally {
      threads.shutdownNow();
      signet.close();
    }
  }

  private static boolean isOfOneState(
      List<AuthorizationResult> results, List<BitSet> expected, int caller, int from, int to) {
    for (int state = from; state <= to; state++) {
      boolean isEqual = true;
      for (int i = 0; i < results.size(); i++) {
        isEqual &=
            expected.get(state).get(caller * NAMES.size() + i)
                == (results.get(i) == AuthorizationResult.ALLOWED);
      }
      if (isEqual) {
        return true;
      }
    }
    return false;
  }
}
