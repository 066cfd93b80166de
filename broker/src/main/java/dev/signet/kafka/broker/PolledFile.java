/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A file that Signet's controller writes and a broker reads again and again, keeping what was good
 * last.
 *
 * <p>{@link #poll()} reads and compares content, because file watches and time stamps miss the
 * symlink swap by which Kubernetes replaces the files of a ConfigMap. Content that is missing, torn
 * or malformed changes nothing.
 */
abstract class PolledFile implements PolledFileMXBean {
  /** A failure that lasts is logged once in this time. */
  private static final long LOG_INTERVAL_NANOS = TimeUnit.SECONDS.toNanos(60);

  private final Logger log = LoggerFactory.getLogger(getClass());
  private final Path path;
  private final int maxSize;
  private final LongSupplier nanoClock;

  /** When the content in force was first read. Null until something good was read. */
  private volatile Long since;

  private volatile long lastRead;
  private volatile boolean everRead;
  private volatile long loads;
  private volatile long failures;
  private volatile String lastError = "not read yet";

  /** Guarded by this. */
  private long lastLogged;

  /**
   * Makes a file that was not read yet.
   *
   * @param maxSize in octets; of more, one octet more is read
   */
  PolledFile(Path path, int maxSize, LongSupplier nanoClock) {
    this.path = path;
    this.maxSize = maxSize;
    this.nanoClock = nanoClock;
  }

  /** Reads the content, takes it if it is new and good, and tells whether it was new. */
  abstract boolean load() throws IOException, FormatException;

  /** What is in force, for a log. */
  abstract String describe();

  /** What holds while nothing good was ever read, as a sentence for a log. */
  abstract String withoutAny();

  final Path path() {
    return path;
  }

  /**
   * Reads the file, and takes its content if it is new and good. It throws nothing, so that polling
   * never ends.
   */
  final synchronized void poll() {
    try {
      boolean isNew = load();
      if (isNew) {
        since = nanoClock.getAsLong();
        loads++;
      }
      if (isNew || !lastError.isEmpty()) {
        lastError = "";
        log.info("{}: {} is in force", path, describe());
      }
    } catch (FormatException e) {
      fail(e.getMessage());
    } catch (IOException e) {
      fail("cannot be read: " + e);
    } catch (RuntimeException | Error e) {
      fail("unexpected " + e);
    }
  }

  /** Reads the file itself. */
  final byte[] read() throws IOException {
    byte[] text = read(path);
    lastRead = nanoClock.getAsLong();
    everRead = true;
    return text;
  }

  /** Reads a regular file; anything else, such as a pipe, could block for ever. */
  final byte[] read(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no regular file");
    }
    try (InputStream in = Files.newInputStream(file)) {
      // One octet more than allowed tells that it is too large, without reading on.
      return in.readNBytes(maxSize + 1);
    }
  }

  private void fail(String error) {
    failures++;
    long now = nanoClock.getAsLong();
    boolean isNew = !error.equals(lastError);
    lastError = error;
    if (!isNew && now - lastLogged < LOG_INTERVAL_NANOS) {
      return;
    }
    lastLogged = now;
    log.error(
        "{}: {}. {}", path, error, since == null ? withoutAny() : describe() + " stays in force.");
  }

  @Override
  public final double getAgeSeconds() {
    Long began = since;
    return began == null ? -1 : secondsSince(began);
  }

  @Override
  public final double getSecondsSinceLastRead() {
    return everRead ? secondsSince(lastRead) : -1;
  }

  private double secondsSince(long nanos) {
    return (nanoClock.getAsLong() - nanos) / 1e9;
  }

  @Override
  public final long getLoads() {
    return loads;
  }

  @Override
  public final long getFailures() {
    return failures;
  }

  @Override
  public final String getLastError() {
    return lastError;
  }
}
