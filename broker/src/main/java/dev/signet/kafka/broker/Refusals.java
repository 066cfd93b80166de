/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/**
 * Counts refused peers, and logs them at a rate that strangers cannot drive up: one line per reason
 * and subject in each {@link #INTERVAL_SECONDS}, at most {@link #MAX_REMEMBERED} lines in all in
 * that time.
 */
final class Refusals {
  static final long INTERVAL_SECONDS = 60;

  /** How many reasons with subjects are remembered; each takes less than two kilobytes. */
  static final int MAX_REMEMBERED = 1000;

  private final Map<Reason, LongAdder> counts = new EnumMap<>(Reason.class);
  private final LongSupplier nanoClock;
  private final Consumer<String> log;

  /** When each reason and subject was logged, the longest ago first. Guarded by this. */
  private final Map<Key, Long> logged = new LinkedHashMap<>();

  /** Lines that were left out. Guarded by this. */
  private long suppressed;

  private record Key(Reason reason, String subject) {}

  Refusals(LongSupplier nanoClock, Consumer<String> log) {
    this.nanoClock = nanoClock;
    this.log = log;
    for (Reason reason : Reason.values()) {
      counts.put(reason, new LongAdder());
    }
  }

  /** How many peers were refused for a reason. */
  long count(Reason reason) {
    return counts.get(reason).sum();
  }

  /**
   * Counts a refusal, and logs it if it is not one too many.
   *
   * @param subject fit for a log
   * @param message fit for a log
   */
  void record(Reason reason, String subject, String message) {
    counts.get(reason).increment();
    long omitted;
    synchronized (this) {
      long now = nanoClock.getAsLong();
      forget(now);
      Key key = new Key(reason, subject);
      if (logged.containsKey(key) || logged.size() >= MAX_REMEMBERED) {
        suppressed++;
        return;
      }
      logged.put(key, now);
      omitted = suppressed;
      suppressed = 0;
    }
    log.accept(
        omitted == 0 ? message : message + " (" + omitted + " further refusals were not logged)");
  }

  /** How many reasons with subjects are remembered. */
  synchronized int remembered() {
    return logged.size();
  }

  private void forget(long now) {
    var entries = logged.values().iterator();
    while (entries.hasNext()
        && now - entries.next() >= TimeUnit.SECONDS.toNanos(INTERVAL_SECONDS)) {
      entries.remove();
    }
  }
}
