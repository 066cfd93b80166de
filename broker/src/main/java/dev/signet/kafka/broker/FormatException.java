/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * Says why a file for the broker, mapping.json or authorization.json, was refused. Whoever has an
 * earlier good file goes on with that.
 */
public final class FormatException extends Exception {
  private static final long serialVersionUID = 1L;

  /** The reasons, as {@code test/vectors} name them. */
  public enum Code {
    /** Another version of the format, or none. */
    VERSION("version"),
    /** Not JSON, not UTF-8, or something behind the JSON. */
    SYNTAX("syntax"),
    /** A field that the format does not have. */
    UNKNOWN_FIELD("unknown-field"),
    /** A field or key that is there twice, in one file or in two. */
    DUPLICATE("duplicate"),
    /** More, or longer, than the format allows. */
    BOUNDS("bounds"),
    /** A pattern outside the subset of regular expressions that all readers understand alike. */
    PATTERN("pattern"),
    /** A pattern's principal that refers to what is not there. */
    TEMPLATE("template"),
    /** A list that is not in the order of its strings' code points. */
    UNSORTED("unsorted"),
    /** A shard that is misnamed, missing, or has another content than the file says. */
    SHARD("shard"),
    /** A value of the wrong type or outside its range, or a missing field. */
    VALUE("value");

    private final String text;

    Code(String text) {
      this.text = text;
    }

    @Override
    public String toString() {
      return text;
    }
  }

  private final Code code;

  FormatException(Code code, String detail) {
    super(code + ": " + detail);
    this.code = code;
  }

  FormatException(Code code, String detail, Throwable cause) {
    super(code + ": " + detail, cause);
    this.code = code;
  }

  /** The reason. */
  public Code code() {
    return code;
  }
}
