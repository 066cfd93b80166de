/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One mapping file with its shards, and the snapshot of it that is in force.
 *
 * <p>{@link #poll()} reads and compares content, because file watches and time stamps miss the
 * symlink swap by which Kubernetes replaces the files of a ConfigMap. Content that is missing, torn
 * or malformed changes nothing; before any good content was read, {@link Mapping#none()} is in
 * force.
 */
final class MappingFile implements PrincipalMappingMXBean {
  /** How often a set is read again when the file was replaced while its shards were read. */
  private static final int ATTEMPTS = 3;

  /** A failure that lasts is logged once in this time. */
  private static final long LOG_INTERVAL_NANOS = TimeUnit.SECONDS.toNanos(60);

  private static final Logger LOG = LoggerFactory.getLogger(MappingFile.class);

  private final Path path;
  private final LongSupplier nanoClock;
  private final Refusals refusals;
  private final LongAdder exhausted = new LongAdder();

  /** What is in force: content of the file, what it says, and when it was first read. */
  private record InForce(byte[] text, MappingDocument document, Mapping mapping, long since) {}

  /** Null until something good was read. Written under the lock of this, read without. */
  private volatile InForce inForce;

  /** Read on every request, hence a field of its own. */
  private volatile Mapping current = Mapping.none();

  private volatile long lastRead;
  private volatile boolean everRead;
  private volatile long loads;
  private volatile long failures;
  private volatile String lastError = "not read yet";

  /** Guarded by this. */
  private long lastLogged;

  MappingFile(Path path, LongSupplier nanoClock) {
    this.path = path;
    this.nanoClock = nanoClock;
    this.refusals = new Refusals(nanoClock, LoggerFactory.getLogger(Refusals.class)::warn);
  }

  Path path() {
    return path;
  }

  /** The snapshot in force, never null. */
  Mapping current() {
    return current;
  }

  Refusals refusals() {
    return refusals;
  }

  /** Counts that a pattern was given up. */
  void countExhausted() {
    exhausted.increment();
  }

  /**
   * Reads the file, and takes its content if it is new and good. It throws nothing, so that polling
   * never ends.
   */
  synchronized void poll() {
    try {
      boolean isNew = load();
      if (isNew || !lastError.isEmpty()) {
        lastError = "";
        LOG.info(
            "{}: generation {} with {} entries is in force",
            path,
            current.generation(),
            current.entries());
      }
    } catch (IOException | MappingFormatException e) {
      fail(describe(e));
    } catch (RuntimeException | Error e) {
      fail("unexpected " + e);
    }
  }

  /** Returns whether new content came into force. */
  private boolean load() throws IOException, MappingFormatException {
    for (int attempt = 1; ; attempt++) {
      byte[] text = read(path);
      lastRead = nanoClock.getAsLong();
      everRead = true;
      InForce before = inForce;
      boolean same = before != null && Arrays.equals(before.text, text);
      try {
        MappingDocument document = same ? before.document : MappingDocument.parse(text);
        Map<String, byte[]> shards = new HashMap<>();
        for (String file : document.shardFiles()) {
          shards.put(file, read(path.resolveSibling(file)));
        }
        if (same) {
          document.verify(shards);
          return false;
        }
        Mapping mapping = document.with(shards);
        inForce = new InForce(text, document, mapping, nanoClock.getAsLong());
        current = mapping;
        loads++;
        return true;
      } catch (IOException | MappingFormatException e) {
        // All files change at once, but are read one after the other: what was just read may be
        // half old, half new.
        if (attempt == ATTEMPTS || Arrays.equals(text, read(path))) {
          throw e;
        }
      }
    }
  }

  /** Reads a regular file; anything else, such as a pipe, could block for ever. */
  private static byte[] read(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no regular file");
    }
    try (InputStream in = Files.newInputStream(file)) {
      // One octet more than allowed tells that it is too large, without reading on.
      return in.readNBytes(StrictJson.MAX_FILE + 1);
    }
  }

  private String describe(Exception e) {
    return e instanceof MappingFormatException ? e.getMessage() : "cannot be read: " + e;
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
    if (inForce == null) {
      LOG.error(
          "{}: {}. No good mapping was ever read: EVERY mutual TLS peer of the listeners that use it is refused.",
          path,
          error);
    } else {
      LOG.error("{}: {}. Generation {} stays in force.", path, error, current.generation());
    }
  }

  @Override
  public long getGeneration() {
    return current.generation();
  }

  @Override
  public double getAgeSeconds() {
    InForce now = inForce;
    return now == null ? -1 : secondsSince(now.since);
  }

  @Override
  public double getSecondsSinceLastRead() {
    return everRead ? secondsSince(lastRead) : -1;
  }

  private double secondsSince(long nanos) {
    return (nanoClock.getAsLong() - nanos) / 1e9;
  }

  @Override
  public int getEntries() {
    return current.entries();
  }

  @Override
  public long getLoads() {
    return loads;
  }

  @Override
  public long getFailures() {
    return failures;
  }

  @Override
  public String getLastError() {
    return lastError;
  }

  @Override
  public long getRefusalsSeveralSpiffeIds() {
    return refusals.count(Reason.SEVERAL_SPIFFE_IDS);
  }

  @Override
  public long getRefusalsDisagreement() {
    return refusals.count(Reason.DISAGREEMENT);
  }

  @Override
  public long getRefusalsUnmapped() {
    return refusals.count(Reason.UNMAPPED);
  }

  @Override
  public long getRefusalsMalformedSubject() {
    return refusals.count(Reason.MALFORMED_SUBJECT);
  }

  @Override
  public long getRefusalsMalformedSan() {
    return refusals.count(Reason.MALFORMED_SAN);
  }

  @Override
  public long getRefusalsNoMapping() {
    return refusals.count(Reason.NO_MAPPING);
  }

  @Override
  public long getExhaustedPatterns() {
    return exhausted.sum();
  }
}
