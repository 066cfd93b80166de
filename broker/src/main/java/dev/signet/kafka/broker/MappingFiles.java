/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.MalformedObjectNameException;
import javax.management.ObjectName;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The mapping files of a JVM, each once, whatever the number of connections: Kafka makes a
 * principal builder for each connection. One daemon thread polls them all, and each has an MBean.
 *
 * <p>A file that was opened once is polled until {@link #close()}, even while no connection uses
 * it: dropping it with its last connection would lose the last good content, and so let a broken
 * file take effect.
 */
final class MappingFiles implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(MappingFiles.class);

  private final ConcurrentHashMap<Path, Polled> files = new ConcurrentHashMap<>();
  private final MBeanServer jmx;
  private final LongSupplier nanoClock;

  /**
   * Made with the first file, so that a broker that uses none has no thread. Guarded by this, as is
   * what follows.
   */
  private ScheduledExecutorService poller;

  private boolean closed;

  private static final class Polled {
    private final MappingFile file;
    private volatile long pollMs = Long.MAX_VALUE;
    private ScheduledFuture<?> polling;

    private Polled(MappingFile file) {
      this.file = file;
    }
  }

  MappingFiles(MBeanServer jmx, LongSupplier nanoClock) {
    this.jmx = jmx;
    this.nanoClock = nanoClock;
  }

  /** Holds the files of the brokers in this JVM. */
  private static final class Shared {
    private static final MappingFiles FILES =
        new MappingFiles(ManagementFactory.getPlatformMBeanServer(), System::nanoTime);
  }

  /** The files of the brokers in this JVM; they are never closed. */
  static MappingFiles shared() {
    return Shared.FILES;
  }

  /**
   * Returns a file. If it was not open yet, it is read before this returns, so that the first
   * connection is decided by its content.
   *
   * @param pollMs how often it is read, in milliseconds; of several intervals for one path the
   *     shortest counts
   */
  MappingFile open(Path path, long pollMs) {
    Path key = path.toAbsolutePath();
    Polled polled = files.get(key);
    if (polled == null || polled.pollMs > pollMs) {
      polled = schedule(key, pollMs);
    }
    return polled.file;
  }

  private synchronized Polled schedule(Path path, long pollMs) {
    if (closed) {
      throw new IllegalStateException("closed");
    }
    Polled polled = files.get(path);
    if (polled == null) {
      polled = new Polled(new MappingFile(path, nanoClock));
      polled.file.poll();
      register(polled.file);
      files.put(path, polled);
    }
    if (polled.pollMs <= pollMs) {
      return polled;
    }
    if (poller == null) {
      poller = Executors.newSingleThreadScheduledExecutor(MappingFiles::daemon);
    }
    if (polled.polling != null) {
      polled.polling.cancel(false);
    }
    polled.polling =
        poller.scheduleWithFixedDelay(polled.file::poll, pollMs, pollMs, TimeUnit.MILLISECONDS);
    polled.pollMs = pollMs;
    return polled;
  }

  private static Thread daemon(Runnable task) {
    Thread thread = new Thread(task, "signet-mapping-poll");
    thread.setDaemon(true);
    return thread;
  }

  /** The name of a file's MBean. */
  static ObjectName objectName(Path path) throws MalformedObjectNameException {
    return new ObjectName(
        "signet.kafka:type=principal-mapping,file=" + ObjectName.quote(path.toString()));
  }

  private void register(MappingFile file) {
    try {
      jmx.registerMBean(file, objectName(file.path()));
    } catch (JMException | RuntimeException e) {
      // A broker without this metric still decides; one that stopped here would refuse everybody.
      LOG.warn("{}: there will be no MBean for it", file.path(), e);
    }
  }

  /** Ends polling and removes the MBeans. Files that were returned keep what is in force. */
  @Override
  public synchronized void close() {
    closed = true;
    if (poller != null) {
      poller.shutdownNow();
    }
    for (Path path : files.keySet()) {
      try {
        jmx.unregisterMBean(objectName(path));
      } catch (JMException e) {
        LOG.debug("{}: its MBean was not there", path, e);
      }
    }
    files.clear();
  }
}
