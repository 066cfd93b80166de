/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import dev.signet.kafka.broker.MappingFormatException.Code;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * JSON as the format wants it: bounded, valid UTF-8, one value, no half surrogate pair in a string.
 */
final class StrictJson {
  /** Size of mapping.json and of each shard, in octets: what a ConfigMap holds. */
  static final int MAX_FILE = 1 << 20;

  /** Subjects are keys: interned or canonicalised, they would fill tables that outlive the file. */
  private static final JsonFactory FACTORY =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .build();

  private StrictJson() {}

  /** Reads the value that the parser stands on, and leaves the parser on its last token. */
  interface Reader {
    void read(JsonParser parser) throws IOException, MappingFormatException;
  }

  /** Reads the one value of a file. */
  static void read(byte[] text, String file, Reader reader) throws MappingFormatException {
    if (text.length > MAX_FILE) {
      throw new MappingFormatException(
          Code.BOUNDS, file + " has more than " + MAX_FILE + " octets");
    }
    String decoded;
    try {
      // Jackson's own decoder lets some malformed UTF-8 pass.
      decoded = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString();
    } catch (CharacterCodingException e) {
      throw new MappingFormatException(Code.SYNTAX, file + " is not UTF-8", e);
    }
    if (decoded.startsWith("\ufeff")) {
      throw new MappingFormatException(Code.SYNTAX, file + " begins with a byte order mark");
    }
    try (JsonParser parser = FACTORY.createParser(decoded)) {
      parser.nextToken();
      reader.read(parser);
      if (parser.nextToken() != null) {
        throw new MappingFormatException(Code.SYNTAX, "something follows the JSON of " + file);
      }
    } catch (JsonProcessingException e) {
      throw new MappingFormatException(
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
      throw new MappingFormatException(Code.SYNTAX, file + ": " + e.getMessage(), e);
    }
  }

  /** Returns the string that the parser stands on. */
  static String string(JsonParser parser, String where) throws IOException, MappingFormatException {
    expect(parser, JsonToken.VALUE_STRING, where, "a string");
    return wellFormed(parser.getText());
  }

  /**
   * Refuses half surrogate pairs, which JSON can write as escapes and each reader would replace in
   * its own way.
   */
  static String wellFormed(String text) throws MappingFormatException {
    if (text.codePoints()
        .anyMatch(c -> c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)) {
      throw new MappingFormatException(
          Code.SYNTAX, Printable.quote(text) + " has half a surrogate pair");
    }
    return text;
  }

  /** Errs unless the parser stands on a token of this kind. */
  static void expect(JsonParser parser, JsonToken token, String where, String what)
      throws MappingFormatException {
    if (parser.currentToken() == null) {
      throw new MappingFormatException(Code.SYNTAX, "the JSON ends before " + what);
    }
    if (parser.currentToken() != token) {
      throw new MappingFormatException(Code.VALUE, Printable.quote(where) + " is not " + what);
    }
  }
}
