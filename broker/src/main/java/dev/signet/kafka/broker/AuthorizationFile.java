/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.LongSupplier;
import javax.management.MBeanServer;

/** An authorization.json, and the snapshot of it that is in force. */
final class AuthorizationFile extends PolledFile implements AuthorizationMXBean {
  /** The content of the snapshot. Null until something good was read. */
  private byte[] text;

  /** Null until something good was read. Read on every request. */
  private volatile Authorization current;

  AuthorizationFile(Path path, LongSupplier nanoClock) {
    super(path, Authorization.MAX_FILE, nanoClock);
  }

  /** The authorization files of a JVM. In combined mode, broker and controller share one. */
  static final class Set extends PolledFiles<AuthorizationFile> {
    static final String KIND = "authorization";

    private static final Set SHARED =
        new Set(ManagementFactory.getPlatformMBeanServer(), System::nanoTime);

    Set(MBeanServer jmx, LongSupplier nanoClock) {
      super(KIND, jmx, path -> new AuthorizationFile(path, nanoClock));
    }

    /** The files of the brokers and controllers in this JVM; they are never closed. */
    static Set shared() {
      return SHARED;
    }
  }

  /** The snapshot in force, or null if nothing good was ever read. */
  Authorization current() {
    return current;
  }

  @Override
  boolean load() throws IOException, FormatException {
    byte[] read = read();
    if (text != null && Arrays.equals(text, read)) {
      return false;
    }
    current = Authorization.parse(read);
    text = read;
    return true;
  }

  @Override
  String describe() {
    Authorization now = current;
    return "generation "
        + now.generation()
        + ", mode "
        + now.mode()
        + " with "
        + now.entries()
        + " principals,";
  }

  @Override
  String withoutAny() {
    return "No good file was ever read: the mode of signet.authorization.mode.at.start holds for"
        + " EVERYBODY.";
  }

  @Override
  public long getGeneration() {
    Authorization now = current;
    return now == null ? 0 : now.generation();
  }

  @Override
  public String getMode() {
    Authorization now = current;
    return now == null ? "" : now.mode().toString();
  }

  @Override
  public int getEntries() {
    Authorization now = current;
    return now == null ? 0 : now.entries();
  }
}
