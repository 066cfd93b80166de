/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import dev.signet.kafka.broker.FormatException.Code;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * JSON as the format wants it: bounded, valid UTF-8, one value, no half surrogate pair in a string.
 */
final class StrictJson {
  /** Subjects are keys: interned or canonicalised, they would fill tables that outlive the file. */
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .build();

  private StrictJson() {}

  /** Reads the value that the parser stands on, and leaves the parser on its last token. */
  interface Reader {
    void read(JsonParser parser) throws IOException, FormatException;
  }

  /**
   * Reads the one value of a file.
   *
   * @param limit of the file's size, in octets
   */
  static void read(byte[] text, int limit, String file, Reader reader) throws FormatException {
    if (text.length > limit) {
      throw new FormatException(Code.BOUNDS, file + " has more than " + limit + " octets");
    }
    String decoded;
    try {
      // Jackson's own decoder lets some malformed UTF-8 pass.
      decoded = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString();
    } catch (CharacterCodingException e) {
      throw new FormatException(Code.SYNTAX, file + " is not UTF-8", e);
    }
    if (decoded.startsWith("\ufeff")) {
      throw new FormatException(Code.SYNTAX, file + " begins with a byte order mark");
    }
    try (JsonParser parser = FACTORY.createParser(decoded)) {
      parser.nextToken();
      reader.read(parser);
      if (parser.nextToken() != null) {
        throw new FormatException(Code.SYNTAX, "something follows the JSON of " + file);
      }
    } catch (JsonProcessingException e) {
      throw new FormatException(
          Code.SYNTAX,
          file
              + " is no JSON at line "
              + e.getLocation().getLineNr()
              + ", column "
              + e.getLocation().getColumnNr()
              + ": "
              + Printable.quote(e.getOriginalMessage()),
          e);
    } catch (IOException e) {
      throw new FormatException(Code.SYNTAX, file + ": " + e.getMessage(), e);
    }
  }

  /** Errs unless the parser stands on this version of a format. */
  static void version(JsonParser parser, int version) throws IOException, FormatException {
    if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
        || !parser.getText().equals("" + version)) {
      throw new FormatException(
          Code.VERSION, "version is not " + version + ", the only one that this reader knows");
    }
  }

  /** Returns the name of the KafkaCluster that the parser stands on, which is not empty. */
  static String cluster(JsonParser parser) throws IOException, FormatException {
    String cluster = string(parser, "cluster");
    if (cluster.isEmpty()) {
      throw new FormatException(Code.VALUE, "cluster is empty");
    }
    return cluster;
  }

  /** Returns the generation that the parser stands on, at least 1. */
  static long generation(JsonParser parser) throws IOException, FormatException {
    expect(parser, JsonToken.VALUE_NUMBER_INT, "generation", "an integer");
    if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER || parser.getLongValue() < 1) {
      throw new FormatException(Code.VALUE, "generation is not from 1 to 2^63-1");
    }
    return parser.getLongValue();
  }

  /** Returns the string that the parser stands on. */
  static String string(JsonParser parser, String where) throws IOException, FormatException {
    expect(parser, JsonToken.VALUE_STRING, where, "a string");
    return wellFormed(parser.getText());
  }

  /**
   * Refuses half surrogate pairs, which JSON can write as escapes and each reader would replace in
   * its own way.
   */
  static String wellFormed(String text) throws FormatException {
    if (text.codePoints()
        .anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
      throw new FormatException(Code.SYNTAX, Printable.quote(text) + " has half a surrogate pair");
    }
    return text;
  }

  /** Errs unless the parser stands on a token of this kind. */
  static void expect(JsonParser parser, JsonToken token, String where, String what)
      throws FormatException {
    if (parser.currentToken() == null) {
      throw new FormatException(Code.SYNTAX, "the JSON ends before " + what);
    }
    if (parser.currentToken() != token) {
      throw new FormatException(Code.VALUE, Printable.quote(where) + " is not " + what);
    }
  }
}
