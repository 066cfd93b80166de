/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.nio.file.Path;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.MalformedObjectNameException;
import javax.management.ObjectName;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The files of one kind in a JVM, each once, whatever the number of plug-ins that use it. One
 * daemon thread polls them all, and each has an MBean.
 *
 * <p>A file that was opened once is polled until {@link #close()}, even while nobody uses it:
 * dropping it with its last user would lose the last good content, and so let a broken file take
 * effect.
 */
class PolledFiles<F extends PolledFile> implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PolledFiles.class);

  private final ConcurrentHashMap<Path, Polled<F>> files = new ConcurrentHashMap<>();
  private final String kind;
  private final MBeanServer jmx;
  private final Function<Path, F> factory;

  /**
   * Made with the first file, so that a broker that uses none has no thread. Guarded by this, as is
   * what follows.
   */
  private ScheduledExecutorService poller;

  private boolean closed;

  private static final class Polled<F> {
    private final F file;
    private volatile long pollMs = Long.MAX_VALUE;
    private ScheduledFuture<?> polling;

    private Polled(F file) {
      this.file = file;
    }
  }

  /**
   * Makes an empty set.
   *
   * @param kind the type of the MBeans, and part of the thread's name
   * @param factory makes the file of a path, which is then read
   */
  PolledFiles(String kind, MBeanServer jmx, Function<Path, F> factory) {
    this.kind = kind;
    this.jmx = jmx;
    this.factory = factory;
  }

  /**
   * Returns a file. If it was not open yet, it is read before this returns, so that the first
   * decision is made by its content.
   *
   * @param pollMs how often it is read, in milliseconds; of several intervals for one path the
   *     shortest counts
   */
  final F open(Path path, long pollMs) {
    Path key = path.toAbsolutePath();
    Polled<F> polled = files.get(key);
    if (polled == null || polled.pollMs > pollMs) {
      polled = schedule(key, pollMs);
    }
    return polled.file;
  }

  private synchronized Polled<F> schedule(Path path, long pollMs) {
    if (closed) {
      throw new IllegalStateException("closed");
    }
    Polled<F> polled = files.get(path);
    if (polled == null) {
      polled = new Polled<>(factory.apply(path));
      polled.file.poll();
      register(polled.file);
      files.put(path, polled);
    }
    if (polled.pollMs <= pollMs) {
      return polled;
    }
    if (poller == null) {
      poller = Executors.newSingleThreadScheduledExecutor(this::daemon);
    }
    if (polled.polling != null) {
      polled.polling.cancel(false);
    }
    polled.polling =
        poller.scheduleWithFixedDelay(polled.file::poll, pollMs, pollMs, TimeUnit.MILLISECONDS);
    polled.pollMs = pollMs;
    return polled;
  }

  private Thread daemon(Runnable task) {
    Thread thread = new Thread(task, "signet-" + kind + "-poll");
    thread.setDaemon(true);
    return thread;
  }

  /** The name of a file's MBean. */
  static ObjectName objectName(String kind, Path path) throws MalformedObjectNameException {
    return new ObjectName(
        "signet.kafka:type=" + kind + ",file=" + ObjectName.quote(path.toString()));
  }

  private void register(F file) {
    try {
      jmx.registerMBean(file, objectName(kind, file.path()));
    } catch (JMException | RuntimeException e) {
      // A broker without this metric still decides; one that stopped here would refuse everybody.
      LOG.warn("{}: there will be no MBean for it", file.path(), e);
    }
  }

  /** Ends polling and removes the MBeans. Files that were returned keep what is in force. */
  @Override
  public final synchronized void close() {
    closed = true;
    if (poller != null) {
      poller.shutdownNow();
    }
    for (Path path : files.keySet()) {
      try {
        jmx.unregisterMBean(objectName(kind, path));
      } catch (JMException e) {
        LOG.debug("{}: its MBean was not there", path, e);
      }
    }
    files.clear();
  }
}
