/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import dev.signet.kafka.broker.FormatException.Code;
import java.util.BitSet;

/**
 * Checks that a pattern is in the subset of regular expressions that Java, Go and RE2 read alike;
 * the Go package {@code principal/pattern} is the reference. It decides syntax only, by recursive
 * descent over the bounded text, in linear time.
 *
 * <p>In: literals, {@code .}, classes, {@code \d \w \s} and their negations, groups, alternation,
 * greedy and lazy repetition of what cannot be empty; {@code ^} in front and {@code $} at the tail
 * of an alternative of the whole pattern. Out, although Java knows them: look-around,
 * back-references, atomic groups and possessive quantifiers, flags, named groups, {@code \b \B \A
 * \G \Z \z}, {@code \p}, {@code \Q..\E}, octal and control escapes, nested classes and
 * intersections, and what would make a large program in Go.
 */
final class PatternSyntax {
  /** Bound of the numbers in {n,m}. */
  static final int MAX_REPETITION = 255;

  /** Bound of the instructions of Go's program. */
  static final int MAX_INSTRUCTIONS = 2000;

  /** Bound of Go's regexp/syntax on the product of nested repetitions. */
  static final int MAX_NESTED_REPETITION = 1000;

  private static final int UNBOUNDED = -1;
  private static final int END = -1;

  /** What a class escape such as \d is, instead of a code point. */
  private static final int CLASS = -2;

  private final String text;
  private final BitSet repeated = new BitSet();
  private int at;
  private int groups;

  /**
   * What is known of a part.
   *
   * @param nullable it can match the empty string
   * @param size upper bound of the instructions that Go makes of it
   * @param repetition the largest product of repetition counts, one inside the other
   */
  private record Part(boolean nullable, long size, long repetition) {
    private static final Part EMPTY = new Part(true, 1, 1);
    private static final Part CHARACTER = new Part(false, 1, 1);
  }

  private PatternSyntax(String text) {
    this.text = text;
  }

  /** Checks a pattern, or errs with {@link Code#PATTERN}. */
  static PatternSyntax check(String text) throws FormatException {
    PatternSyntax syntax = new PatternSyntax(text);
    syntax.pattern();
    return syntax;
  }

  /** The number of capture groups. */
  int groups() {
    return groups;
  }

  /**
   * Tells whether a capture group, counted from 1, is inside a repetition. What Java says of such a
   * group is what the last round left, tried in vain or not, and differs from Go's.
   */
  boolean isRepeated(int group) {
    return repeated.get(group);
  }

  /** Reads the whole pattern. Only here may anchors stand. */
  private void pattern() throws FormatException {
    long size = 6; // fail, match, the capture of the whole, two anchors
    while (true) {
      if (peek() == '^') {
        anchor();
      }
      size += sequence().size + 3; // an alternative and two anchors
      if (peek() == '$') {
        anchor();
      }
      switch (peek()) {
        case END -> {
          if (size > MAX_INSTRUCTIONS) {
            throw refuse("it is too large");
          }
          return;
        }
        case '|' -> at++;
        case ')' -> throw refuse("a ) closes nothing");
        default -> throw refuse("something precedes a ^ or follows a $");
      }
    }
  }

  private void anchor() throws FormatException {
    at++;
    if (isQuantifier()) {
      throw refuse("a quantifier follows an anchor");
    }
  }

  private Part alternatives() throws FormatException {
    Part all = sequence();
    int count = 1;
    while (peek() == '|') {
      at++;
      count++;
      Part next = sequence();
      all =
          new Part(
              all.nullable || next.nullable,
              all.size + next.size,
              Math.max(all.repetition, next.repetition));
    }
    if (peek() == '^' || peek() == '$') {
      throw refuse("an anchor is inside a group");
    }
    return count == 1 ? all : new Part(all.nullable, all.size + count, all.repetition);
  }

  private Part sequence() throws FormatException {
    boolean nullable = true;
    long size = 0;
    long repetition = 1;
    boolean any = false;
    while ("|)^$".indexOf(peek()) < 0 && peek() != END) {
      int firstGroup = groups + 1;
      Part part = atom();
      if (isQuantifier()) {
        part = quantified(part, firstGroup);
      }
      nullable &= part.nullable;
      size += part.size;
      repetition = Math.max(repetition, part.repetition);
      any = true;
    }
    return any ? new Part(nullable, size, repetition) : Part.EMPTY;
  }

  private Part atom() throws FormatException {
    switch (peek()) {
      case '(':
        return group();
      case '[':
        characterClass();
        return Part.CHARACTER;
      case '\\':
        escape();
        return Part.CHARACTER;
      case '*', '+', '?', '{':
        throw refuse("a quantifier has nothing to repeat");
      default:
        literal();
        return Part.CHARACTER;
    }
  }

  private Part group() throws FormatException {
    at++;
    if (peek() == '?') {
      at++;
      if (peek() != ':') {
        throw refuse("flags, look-around, named and atomic groups are not supported");
      }
      at++;
    } else {
      groups++;
    }
    Part inside = alternatives();
    if (peek() != ')') {
      throw refuse("a group is not closed");
    }
    at++;
    return new Part(inside.nullable, inside.size + 2, inside.repetition);
  }

  private boolean isQuantifier() {
    int c = peek();
    return c == '*' || c == '+' || c == '?' || c == '{';
  }

  private Part quantified(Part part, int firstGroup) throws FormatException {
    int least = 0;
    int most = UNBOUNDED;
    boolean optional = false;
    switch (next()) {
      case '*' -> {}
      case '+' -> least = 1;
      case '?' -> {
        most = 1;
        optional = true;
      }
      default -> {
        least = number();
        most = least;
        if (peek() == ',') {
          at++;
          most = peek() == '}' ? UNBOUNDED : number();
        }
        if (peek() != '}' || most == 0 || most != UNBOUNDED && most < least) {
          throw refuse("a repetition is malformed, or repeats zero times");
        }
        at++;
      }
    }
    if (peek() == '?') {
      at++;
    }
    if (isQuantifier()) {
      throw refuse("possessive and stacked quantifiers are not supported");
    }
    if (part.nullable && !optional) {
      throw refuse("a quantifier repeats what can be empty");
    }
    if (!optional) {
      repeated.set(firstGroup, groups + 1);
    }
    long size =
        most == UNBOUNDED
            ? Math.max(least, 1) * part.size + 2
            : most * part.size + (most - least) + 1;
    long repetition = Math.max(1, most == UNBOUNDED ? least : most) * part.repetition;
    if (size > MAX_INSTRUCTIONS || repetition > MAX_NESTED_REPETITION) {
      throw refuse("it is too large");
    }
    return new Part(part.nullable || least == 0, size, repetition);
  }

  private int number() throws FormatException {
    int from = at;
    int value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + (next() - '0');
      if (value > MAX_REPETITION) {
        throw refuse("a repetition count is larger than " + MAX_REPETITION);
      }
    }
    if (at == from) {
      throw refuse("a repetition count is missing");
    }
    return value;
  }

  private void characterClass() throws FormatException {
    at++;
    if (peek() == '^') {
      at++;
    }
    boolean empty = true;
    while (empty || peek() != ']') {
      if (peek() == '[' || text.startsWith("&&", at)) {
        throw refuse("classes inside classes and intersections are not supported");
      }
      if (peek() == '^' && text.charAt(at - 1) == '[') {
        throw refuse("some versions of Java take a ^ behind \\[ for a negation");
      }
      int low = classCharacter();
      if (low != CLASS && peek() == '-' && !text.startsWith("-]", at)) {
        at++;
        if (peek() == '[' || classCharacter() < low) {
          throw refuse("a range in a class is malformed");
        }
      }
      empty = false;
    }
    at++;
  }

  /** Reads one member of a class and returns its code point, or {@link #CLASS}. */
  private int classCharacter() throws FormatException {
    return peek() == '\\' ? escape() : literal();
  }

  /** Reads one character that stands for itself and returns it. */
  private int literal() throws FormatException {
    int c = next();
    if (c == END) {
      throw refuse("a class is not closed");
    }
    return c;
  }

  /** Reads an escape and returns its code point, or {@link #CLASS}. */
  private int escape() throws FormatException {
    at++;
    int c = next();
    switch (c) {
      case END:
        throw refuse("a backslash escapes nothing");
      case 'd', 'D', 'w', 'W', 's', 'S':
        return CLASS;
      case 't':
        return '\t';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 'f':
        return '\f';
      case 'a':
        return 0x07;
      case 'e':
        return 0x1b;
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      default:
        if (c < 0x80 && Character.isLetterOrDigit(c)) {
          throw refuse("the escape \\" + (char) c + " is not supported");
        }
        return c;
    }
  }

  private int hex(int digits) throws FormatException {
    int value = 0;
    for (int i = 0; i < digits; i++) {
      int c = next();
      int digit = c < 0x80 ? Character.digit(c, 16) : -1;
      if (digit < 0) {
        throw refuse("a hexadecimal escape is malformed");
      }
      value = value * 16 + digit;
    }
    if (Character.isSurrogate((char) value)) {
      throw refuse("half a surrogate pair is written");
    }
    return value;
  }

  private int peek() {
    return at < text.length() ? text.codePointAt(at) : END;
  }

  private int next() throws FormatException {
    int c = peek();
    if (c == 0 || c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE) {
      throw refuse("it has a NUL or half a surrogate pair");
    }
    at += c == END ? 0 : Character.charCount(c);
    return c;
  }

  private FormatException refuse(String what) {
    return new FormatException(
        Code.PATTERN,
        "pattern " + Printable.quote(text) + ": " + what + ", at or before character " + at);
  }
}
