/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** A persistent map against HashMap, with many keys of one hash. */
class PersistentMapTest {
  /** Strings of A a and B B, which Java hashes alike: "Aa" and "BB" have one hash. */
  private static String key(Random random) {
    StringBuilder key = new StringBuilder();
    for (int i = random.nextInt(5); i > 0; i--) {
      key.append(random.nextBoolean() ? "Aa" : "BB");
    }
    return key.append(random.nextInt(4) == 0 ? "" : "" + random.nextInt(2000)).toString();
  }

  private static Map<String, Integer> entries(PersistentMap<String, Integer> map) {
    Map<String, Integer> entries = new HashMap<>();
    PersistentMap.any(
        map,
        (key, value) -> {
          assertNull(entries.put(key, value), key + " is there twice");
          return false;
        });
    return entries;
  }

  @Test
  void behavesLikeHashMapAndKeepsOlderCopies() {
    for (int seed = 0; seed < 60; seed++) {
      Random random = new Random(seed);
      PersistentMap<String, Integer> map = null;
      Map<String, Integer> model = new HashMap<>();
      List<PersistentMap<String, Integer>> maps = new ArrayList<>();
      List<Map<String, Integer>> models = new ArrayList<>();
      int size = 1 << random.nextInt(11);
      for (int step = 0; step < 3 * size; step++) {
        String key = key(random);
        if (random.nextInt(size + model.size()) < size) {
          map = PersistentMap.with(map, key, step);
          model.put(key, step);
        } else {
          String gone = random.nextBoolean() ? key : model.keySet().iterator().next();
          map = PersistentMap.without(map, gone);
          model.remove(gone);
        }
        String asked = key(random);
        assertEquals(model.get(asked), PersistentMap.get(map, asked));
        String longer = asked + "tail";
        assertEquals(
            model.get(asked),
            PersistentMap.getPrefix(map, longer, asked.length(), asked.hashCode()));
        if (step % (size / 2 + 1) == 0) {
          maps.add(map);
          models.add(Map.copyOf(model));
        }
      }
      for (int i = 0; i < maps.size(); i++) {
        assertEquals(models.get(i), entries(maps.get(i)), "seed " + seed);
      }
      for (String key : List.copyOf(model.keySet())) {
        map = PersistentMap.without(map, key);
      }
      assertNull(map);
    }
  }
}
