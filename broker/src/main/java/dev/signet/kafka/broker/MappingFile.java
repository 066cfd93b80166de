/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.slf4j.LoggerFactory;

/**
 * One mapping file with its shards, and the snapshot of it that is in force. Before any good
 * content was read, {@link Mapping#none()} is in force.
 */
final class MappingFile extends PolledFile implements PrincipalMappingMXBean {
  /** How often a set is read again when the file was replaced while its shards were read. */
  private static final int ATTEMPTS = 3;

  private final Refusals refusals;
  private final LongAdder exhausted = new LongAdder();

  /** The last good content of the file, and what it says. */
  private record Content(byte[] text, MappingDocument document) {}

  /** Null until something good was read. */
  private Content content;

  /** Read on every request, hence a field of its own. */
  private volatile Mapping current = Mapping.none();

  MappingFile(Path path, LongSupplier nanoClock) {
    super(path, MappingDocument.MAX_FILE, nanoClock);
    this.refusals = new Refusals(nanoClock, LoggerFactory.getLogger(Refusals.class)::warn);
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

  @Override
  boolean load() throws IOException, FormatException {
    for (int attempt = 1; ; attempt++) {
      byte[] text = read();
      boolean same = content != null && Arrays.equals(content.text, text);
      try {
        MappingDocument document = same ? content.document : MappingDocument.parse(text);
        Map<String, byte[]> shards = new HashMap<>();
        for (String file : document.shardFiles()) {
          shards.put(file, read(path().resolveSibling(file)));
        }
        if (same) {
          document.verify(shards);
          return false;
        }
        Mapping mapping = document.with(shards);
        content = new Content(text, document);
        current = mapping;
        return true;
      } catch (IOException | FormatException e) {
        // All files change at once, but are read one after the other: what was just read may be
        // half old, half new.
        if (attempt == ATTEMPTS || Arrays.equals(text, read(path()))) {
          throw e;
        }
      }
    }
  }

  @Override
  String describe() {
    return "generation " + current.generation() + " with " + current.entries() + " entries";
  }

  @Override
  String withoutAny() {
    return "No good mapping was ever read: EVERY mutual TLS peer of the listeners that use it is"
        + " refused.";
  }

  @Override
  public long getGeneration() {
    return current.generation();
  }

  @Override
  public int getEntries() {
    return current.entries();
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
