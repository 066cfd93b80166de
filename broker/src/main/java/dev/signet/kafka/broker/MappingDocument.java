/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.signet.kafka.broker.FormatException.Code;
import java.io.IOException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A parsed mapping.json, whose shards are yet to be added. It reads strictly: valid UTF-8, no field
 * that the format does not have, no key twice, nothing behind the JSON; a file is taken as a whole
 * or not at all. Time and memory are linear in the size of the files, which is bounded.
 */
final class MappingDocument {
  /** The version of the format. */
  static final int VERSION = 1;

  /** Size of mapping.json and of each shard, in octets: what a ConfigMap holds. */
  static final int MAX_FILE = 1 << 20;

  /** Number of shards. */
  static final int MAX_SHARDS = 15;

  /**
   * Number of patterns, which are tried one after the other on each subject that no exact entry
   * knows.
   */
  static final int MAX_PATTERNS = 256;

  private static final String SPIFFE = "spiffe://";
  private static final Pattern SHARD_FILE = Pattern.compile("mapping-([1-9]|1[0-5])\\.json");
  private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");
  private static final Pattern TRUST_DOMAIN = Pattern.compile("[a-z0-9._-]{1,255}");

  private enum Field {
    VERSION("version"),
    CLUSTER("cluster"),
    GENERATION("generation"),
    MESH_TRUST_DOMAIN("meshTrustDomain"),
    UNMAPPED("unmapped"),
    EXACT("exact"),
    SPIFFE("spiffe"),
    PATTERNS("patterns"),
    SHARDS("shards"),
    PATTERN("pattern"),
    PRINCIPAL("principal"),
    FILE("file"),
    SHA256("sha256");

    private final String key;

    Field(String key) {
      this.key = key;
    }
  }

  private static final Set<Field> FILE_REQUIRED =
      EnumSet.of(
          Field.VERSION,
          Field.CLUSTER,
          Field.GENERATION,
          Field.UNMAPPED,
          Field.EXACT,
          Field.SPIFFE);
  private static final Set<Field> FILE_OPTIONAL =
      EnumSet.of(Field.MESH_TRUST_DOMAIN, Field.PATTERNS, Field.SHARDS);
  private static final Set<Field> SHARD_REQUIRED =
      EnumSet.of(Field.VERSION, Field.EXACT, Field.SPIFFE);
  private static final Set<Field> PATTERN_REQUIRED = EnumSet.of(Field.PATTERN, Field.PRINCIPAL);
  private static final Set<Field> REFERENCE_REQUIRED = EnumSet.of(Field.FILE, Field.SHA256);
  private static final Set<Field> NONE = EnumSet.noneOf(Field.class);

  /**
   * A file beside mapping.json.
   *
   * @param file its name
   * @param sha256 of its content, in lower-case hexadecimal
   */
  private record Shard(String file, String sha256) {}

  private String cluster = "";
  private long generation;
  private String meshTrustDomain = "";
  private boolean explicit;
  private final Map<String, String> exact = new HashMap<>();
  private final Map<String, String> spiffe = new HashMap<>();
  private final List<SubjectPattern> patterns = new ArrayList<>();
  private final List<Shard> shards = new ArrayList<>();

  /** The strings of the pattern or of the reference to a shard that was read last. */
  private final Map<Field, String> strings = new EnumMap<>(Field.class);

  private MappingDocument() {}

  /** Reads mapping.json. */
  static MappingDocument parse(byte[] text) throws FormatException {
    MappingDocument document = new MappingDocument();
    StrictJson.read(
        text,
        MAX_FILE,
        "mapping.json",
        parser -> document.readObject(parser, "the file", FILE_REQUIRED, FILE_OPTIONAL));
    return document;
  }

  /** The names of the shards, in the order of the file. */
  List<String> shardFiles() {
    return shards.stream().map(Shard::file).toList();
  }

  /** Errs unless the shards have the content that this file says. */
  void verify(Map<String, byte[]> contents) throws FormatException {
    for (Shard shard : shards) {
      byte[] content = contents.get(shard.file);
      if (content == null) {
        throw new FormatException(Code.SHARD, shard.file + " is missing");
      }
      if (!Mapping.sha256(content).equals(shard.sha256)) {
        throw new FormatException(
            Code.SHARD,
            shard.file
                + " has another content than mapping.json says; it may not have arrived yet");
      }
    }
  }

  /** Adds the shards. It can be called once. */
  Mapping with(Map<String, byte[]> contents) throws FormatException {
    verify(contents);
    for (Shard shard : shards) {
      StrictJson.read(
          contents.get(shard.file),
          MAX_FILE,
          shard.file,
          parser -> readObject(parser, shard.file, SHARD_REQUIRED, NONE));
    }
    return new Mapping(
        cluster, generation, meshTrustDomain, explicit, exact, spiffe, List.copyOf(patterns));
  }

  private void readObject(JsonParser parser, String where, Set<Field> required, Set<Field> optional)
      throws IOException, FormatException {
    StrictJson.expect(parser, JsonToken.START_OBJECT, where, "an object");
    Set<Field> seen = EnumSet.noneOf(Field.class);
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      Field field = null;
      for (Field candidate : Field.values()) {
        if (candidate.key.equals(key)
            && (required.contains(candidate) || optional.contains(candidate))) {
          field = candidate;
        }
      }
      if (field == null) {
        throw new FormatException(
            Code.UNKNOWN_FIELD,
            where
                + " has the field "
                + Printable.quote(key)
                + ", which this version does not know");
      }
      if (!seen.add(field)) {
        throw new FormatException(Code.DUPLICATE, where + " has " + key + " twice");
      }
      parser.nextToken();
      readField(parser, field);
    }
    Set<Field> missing = EnumSet.copyOf(required);
    missing.removeAll(seen);
    for (Field field : missing) {
      throw new FormatException(
          field == Field.VERSION ? Code.VERSION : Code.VALUE, where + " has no " + field.key);
    }
  }

  private void readField(JsonParser parser, Field field) throws IOException, FormatException {
    switch (field) {
      case VERSION -> StrictJson.version(parser, VERSION);
      case CLUSTER -> cluster = StrictJson.cluster(parser);
      case GENERATION -> generation = StrictJson.generation(parser);
      case MESH_TRUST_DOMAIN -> {
        meshTrustDomain = StrictJson.string(parser, field.key);
        if (!meshTrustDomain.isEmpty() && !TRUST_DOMAIN.matcher(meshTrustDomain).matches()) {
          throw new FormatException(
              Code.VALUE,
              "meshTrustDomain " + Printable.quote(meshTrustDomain) + " is no trust domain");
        }
      }
      case UNMAPPED -> {
        String unmapped = StrictJson.string(parser, field.key);
        explicit = unmapped.equals("explicit");
        if (!explicit && !unmapped.equals("refuse")) {
          throw new FormatException(
              Code.VALUE,
              "unmapped is " + Printable.quote(unmapped) + ", neither refuse nor explicit");
        }
      }
      case EXACT -> readEntries(parser, field, exact);
      case SPIFFE -> readEntries(parser, field, spiffe);
      case PATTERNS -> {
        StrictJson.expect(parser, JsonToken.START_ARRAY, field.key, "an array");
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          if (patterns.size() == MAX_PATTERNS) {
            throw new FormatException(Code.BOUNDS, "more than " + MAX_PATTERNS + " patterns");
          }
          readObject(parser, "a pattern", PATTERN_REQUIRED, NONE);
          patterns.add(
              SubjectPattern.parse(strings.get(Field.PATTERN), strings.get(Field.PRINCIPAL)));
        }
      }
      case SHARDS -> {
        StrictJson.expect(parser, JsonToken.START_ARRAY, field.key, "an array");
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          if (shards.size() == MAX_SHARDS) {
            throw new FormatException(Code.BOUNDS, "more than " + MAX_SHARDS + " shards");
          }
          readObject(parser, "a shard's reference", REFERENCE_REQUIRED, NONE);
          addShard(strings.get(Field.FILE), strings.get(Field.SHA256));
        }
      }
      case PATTERN, PRINCIPAL, FILE, SHA256 ->
          strings.put(field, StrictJson.string(parser, field.key));
      default -> throw new IllegalStateException(field.key);
    }
  }

  private void addShard(String file, String sha256) throws FormatException {
    if (!SHARD_FILE.matcher(file).matches()
        || !SHA256.matcher(sha256).matches()
        || shardFiles().contains(file)) {
      throw new FormatException(
          Code.SHARD,
          "shard "
              + Printable.quote(file)
              + " with sha256 "
              + Printable.quote(sha256)
              + " is malformed or named twice");
    }
    shards.add(new Shard(file, sha256));
  }

  private static void readEntries(JsonParser parser, Field kind, Map<String, String> into)
      throws IOException, FormatException {
    StrictJson.expect(parser, JsonToken.START_OBJECT, kind.key, "an object");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = StrictJson.wellFormed(parser.currentName());
      if (key.isEmpty()
          || key.length() > Mapping.MAX_SUBJECT
          || key.indexOf('\ufffd') >= 0
          || kind == Field.SPIFFE && !key.startsWith(SPIFFE)) {
        throw new FormatException(
            Code.VALUE,
            kind.key
                + " has the key "
                + Printable.quote(key)
                + ", which is empty, longer than "
                + Mapping.MAX_SUBJECT
                + ", no SPIFFE ID, or has U+FFFD, behind which different subjects read alike");
      }
      parser.nextToken();
      String name = StrictJson.string(parser, key);
      if (!Mapping.isName(name)) {
        throw new FormatException(
            Code.VALUE,
            kind.key
                + " "
                + Printable.quote(key)
                + ": the principal "
                + Printable.quote(name)
                + " is empty, longer than "
                + Mapping.MAX_NAME
                + ", or has a control character or U+FFFD");
      }
      if (into.putIfAbsent(key, name) != null) {
        throw new FormatException(
            Code.DUPLICATE, kind.key + " " + Printable.quote(key) + " is there twice");
      }
    }
  }
}
