/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/** Counts answers that should have been alike, and logs one of them a minute. */
final class Differences {
  static final long INTERVAL_SECONDS = 60;

  private final LongAdder count = new LongAdder();
  private final LongSupplier nanoClock;
  private final Consumer<String> log;

  /** Guarded by this, as is what follows. */
  private boolean everLogged;

  private long lastLogged;

  Differences(LongSupplier nanoClock, Consumer<String> log) {
    this.nanoClock = nanoClock;
    this.log = log;
  }

  /** How many there were. */
  long count() {
    return count.sum();
  }

  /** Counts a difference. */
  void add(String description) {
    count.increment();
    synchronized (this) {
      long now = nanoClock.getAsLong();
      if (everLogged && now - lastLogged < TimeUnit.SECONDS.toNanos(INTERVAL_SECONDS)) {
        return;
      }
      everLogged = true;
      lastLogged = now;
    }
    log.accept(
        "the index and Kafka differ, "
            + count.sum()
            + " times so far; set signet.authorizer.index=kafka and report this: "
            + description);
  }
}
