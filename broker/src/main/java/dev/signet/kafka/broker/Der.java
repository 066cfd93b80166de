/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.Arrays;

/**
 * A reader of DER elements (X.690) with the limits of Go's {@code cryptobyte}: low tag numbers,
 * definite lengths in their shortest form. It never reads outside its octets; what is not DER gives
 * {@link MalformedException}.
 */
final class Der {
  static final int OID = 0x06;
  static final int OCTET_STRING = 0x04;
  static final int SEQUENCE = 0x30;
  static final int SET = 0x31;

  /**
   * The bound of an OID component in Go's cryptobyte, whose verdict on a subject is the reference.
   */
  private static final int MAX_COMPONENT_PREFIX = 1 << (31 - 7);

  private final byte[] octets;
  private final int end;
  private int at;

  /** Octets that are not the DER they should be. */
  static final class MalformedException extends Exception {
    private static final long serialVersionUID = 1L;

    MalformedException(String message) {
      super(message);
    }
  }

  Der(byte[] octets) {
    this(octets, 0, octets.length);
  }

  private Der(byte[] octets, int from, int end) {
    this.octets = octets;
    this.at = from;
    this.end = end;
  }

  boolean isEmpty() {
    return at == end;
  }

  /** The tag of the next element, or -1 at the end. */
  int peek() {
    return isEmpty() ? -1 : octets[at] & 0xff;
  }

  /** Reads the next element, whatever its tag, and returns its content. */
  Der next() throws MalformedException {
    if (end - at < 2) {
      throw new MalformedException("element cut short");
    }
    if ((octets[at] & 0x1f) == 0x1f) {
      throw new MalformedException("high tag number");
    }
    int length = octets[at + 1] & 0xff;
    int content = at + 2;
    if (length >= 0x80) {
      int count = length & 0x7f;
      if (count == 0 || count > 4 || end - content < count) {
        throw new MalformedException("indefinite or oversized length");
      }
      long value = 0;
      for (int i = 0; i < count; i++) {
        value = value << 8 | octets[content + i] & 0xff;
      }
      if (value < 0x80 || value >>> ((count - 1) * 8) == 0) {
        throw new MalformedException("length not in its shortest form");
      }
      content += count;
      if (value > end - content) {
        throw new MalformedException("element cut short");
      }
      length = (int) value;
    } else if (length > end - content) {
      throw new MalformedException("element cut short");
    }
    at = content + length;
    return new Der(octets, content, at);
  }

  /** Reads the next element, which must have a tag, and returns its content. */
  Der next(int tag) throws MalformedException {
    if (peek() != tag) {
      throw new MalformedException("unexpected tag");
    }
    return next();
  }

  /**
   * Reads the next element, which must have a tag, and returns it whole, with its tag and length.
   */
  byte[] nextWhole(int tag) throws MalformedException {
    int from = at;
    next(tag);
    return Arrays.copyOfRange(octets, from, at);
  }

  /** The octets that are left. */
  byte[] rest() {
    return Arrays.copyOfRange(octets, at, end);
  }

  /** Tells whether the octets that are left are a well-formed OBJECT IDENTIFIER's content. */
  boolean isObjectIdentifier() {
    if (isEmpty()) {
      return false;
    }
    int i = at;
    while (i < end) {
      int value = 0;
      for (int length = 0; ; length++, i++) {
        if (i == end || length == 5 || value >= MAX_COMPONENT_PREFIX) {
          return false;
        }
        int octet = octets[i] & 0xff;
        if (length == 0 && octet == 0x80) {
          return false;
        }
        value = value << 7 | octet & 0x7f;
        if (octet < 0x80) {
          i++;
          break;
        }
      }
    }
    return true;
  }
}
