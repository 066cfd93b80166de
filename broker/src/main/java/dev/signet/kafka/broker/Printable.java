/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * Text of strangers, made fit for one line of a log: a peer chooses its subject, and may try to
 * forge lines.
 */
final class Printable {
  /** Longer than any subject that a person would write; keeps a line short. */
  static final int MAX_LENGTH = 512;

  private Printable() {}

  /**
   * The text in double quotes, control and format characters and quotes escaped, cut at {@link
   * #MAX_LENGTH}.
   */
  static String quote(String text) {
    StringBuilder quoted = new StringBuilder(Math.min(text.length(), MAX_LENGTH) + 16).append('"');
    int end = Math.min(text.length(), MAX_LENGTH);
    for (int i = 0; i < end; i++) {
      char c = text.charAt(i);
      switch (Character.getType(c)) {
        case Character.CONTROL,
            Character.FORMAT,
            Character.SURROGATE,
            Character.LINE_SEPARATOR,
            Character.PARAGRAPH_SEPARATOR,
            Character.UNASSIGNED ->
            quoted.append(String.format("\\u%04x", (int) c));
        default -> {
          if (c == '"') {
            quoted.append('\\');
          }
          quoted.append(c);
        }
      }
    }
    quoted.append('"');
    if (end < text.length()) {
      quoted.append("… (").append(text.length()).append(" characters)");
    }
    return quoted.toString();
  }
}
