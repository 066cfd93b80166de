/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import dev.signet.kafka.broker.FormatException.Code;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A pattern of the mapping file and the principal that it gives to the subjects it matches as a
 * whole.
 *
 * <p>Java's matcher backtracks, so a pattern can take exponential time, and deep recursion, on a
 * subject made for it. Signet's controller writes no such pattern; a broker does not rely on that,
 * and gives up after {@link #BUDGET} steps.
 */
final class SubjectPattern {
  /** Length of a pattern, in UTF-8 octets. */
  static final int MAX_PATTERN = 512;

  /**
   * How many characters a match may look at. The longest subject has 2,048: an honest pattern looks
   * at each a few times, a hundred times is more than enough, and takes about a millisecond.
   */
  static final int BUDGET = 200_000;

  private final Pattern pattern;
  private final List<Part> template;

  /** A piece of a principal: a literal, or the text of a group where {@code group} is not 0. */
  private record Part(String literal, int group) {}

  /** Thrown when a match has used up its budget. */
  static final class ExhaustedException extends Exception {
    private static final long serialVersionUID = 1L;

    private ExhaustedException(Throwable cause) {
      super("pattern match given up", cause, false, false);
    }
  }

  private SubjectPattern(Pattern pattern, List<Part> template) {
    this.pattern = pattern;
    this.template = template;
  }

  /**
   * Parses a pattern and its template: {@code $1} to {@code $9} are groups, {@code $$} is a dollar,
   * any other {@code $} is an error.
   */
  static SubjectPattern parse(String text, String principal) throws FormatException {
    int length = text.getBytes(StandardCharsets.UTF_8).length;
    if (length < 1 || length > MAX_PATTERN) {
      throw new FormatException(
          Code.BOUNDS,
          "pattern "
              + Printable.quote(text)
              + " is empty or longer than "
              + MAX_PATTERN
              + " octets");
    }
    PatternSyntax syntax = PatternSyntax.check(text);
    try {
      return new SubjectPattern(Pattern.compile(text), template(principal, syntax));
    } catch (PatternSyntaxException e) {
      throw new FormatException(
          Code.PATTERN, "pattern " + Printable.quote(text) + ": " + e.getDescription(), e);
    }
  }

  /** Parses a pattern that names nobody, only matches. */
  static SubjectPattern parse(String text) throws FormatException {
    return parse(text, "$$");
  }

  private static List<Part> template(String principal, PatternSyntax syntax)
      throws FormatException {
    List<Part> parts = new ArrayList<>();
    StringBuilder literal = new StringBuilder();
    for (int i = 0; i < principal.length(); i++) {
      char c = principal.charAt(i);
      if (c != '$') {
        literal.append(c);
        continue;
      }
      i++;
      char reference = i < principal.length() ? principal.charAt(i) : '\0';
      if (reference == '$') {
        literal.append('$');
      } else if (reference >= '1'
          && reference <= '9'
          && reference - '0' <= syntax.groups()
          && !syntax.isRepeated(reference - '0')) {
        parts.add(new Part(literal.toString(), 0));
        parts.add(new Part("", reference - '0'));
        literal.setLength(0);
      } else {
        throw new FormatException(
            Code.TEMPLATE,
            "principal "
                + Printable.quote(principal)
                + ": write a dollar as $$, a group of the pattern (it has "
                + syntax.groups()
                + ") as $1 to $9; a group that is repeated has no text");
      }
    }
    if (principal.isEmpty()) {
      throw new FormatException(Code.TEMPLATE, "principal is empty");
    }
    parts.add(new Part(literal.toString(), 0));
    return List.copyOf(parts);
  }

  /**
   * The principal of a subject that the pattern matches, or null where it does not match, or where
   * what it gives is no name of a principal.
   */
  String principal(String subject) throws ExhaustedException {
    Matcher matcher = match(subject);
    if (matcher == null) {
      return null;
    }
    StringBuilder name = new StringBuilder();
    for (Part part : template) {
      name.append(part.literal);
      // A group that took no part is empty.
      if (part.group > 0 && matcher.start(part.group) >= 0) {
        name.append(subject, matcher.start(part.group), matcher.end(part.group));
      }
    }
    return Mapping.isName(name) ? name.toString() : null;
  }

  /** Tells whether the pattern matches a text as a whole. */
  boolean matches(String text) throws ExhaustedException {
    return match(text) != null;
  }

  /** The match of the whole text, or null. */
  private Matcher match(String text) throws ExhaustedException {
    Matcher matcher = pattern.matcher(new Budgeted(text));
    try {
      return matcher.matches() ? matcher : null;
    } catch (Budgeted.Spent | StackOverflowError e) {
      throw new ExhaustedException(e);
    }
  }

  /** A text that can be looked at only so often. It is used by one thread, for one match. */
  private static final class Budgeted implements CharSequence {
    private final String text;
    private int left = BUDGET;

    /**
     * Ends a match from inside. It has no stack trace, because it is thrown deep in a recursion.
     */
    private static final class Spent extends RuntimeException {
      private static final long serialVersionUID = 1L;
      private static final Spent INSTANCE = new Spent();

      private Spent() {
        super("budget spent", null, false, false);
      }
    }

    private Budgeted(String text) {
      this.text = text;
    }

    @Override
    public int length() {
      return text.length();
    }

    @Override
    public char charAt(int index) {
      if (--left < 0) {
        throw Spent.INSTANCE;
      }
      return text.charAt(index);
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return text.subSequence(start, end);
    }

    @Override
    public String toString() {
      return text;
    }
  }
}
