/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import dev.signet.kafka.broker.FormatException.Code;
import java.io.IOException;
import java.util.HashSet;
import java.util.Set;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;

/**
 * An authorization.json in memory: for whom Kafka's denials count, and who is a person. It never
 * changes, does no input or output, and is safe for use by many threads.
 *
 * <p>It reads strictly: valid UTF-8, no field that the format does not have, nothing twice, lists
 * sorted by the code points of their strings; a file is taken as a whole or not at all.
 */
public final class Authorization {
  /** The version of the format. */
  static final int VERSION = 1;

  /** Size of authorization.json, in octets. */
  static final int MAX_FILE = 16 << 20;

  /** Number of principals in each list. */
  static final int MAX_PRINCIPALS = 100_000;

  private static final String FILE = "authorization.json";

  /** Whose denials count. */
  public enum Mode {
    /** Nobody's. */
    AUDIT("Audit"),
    /** Those of the principals in {@code enforced}. */
    HYBRID("Hybrid"),
    /** Everybody's but those of the principals in {@code audited}. */
    ENFORCE("Enforce");

    private final String text;

    Mode(String text) {
      this.text = text;
    }

    /** The mode of a text in exactly its spelling, or null. */
    static Mode of(String text) {
      for (Mode mode : values()) {
        if (mode.text.equals(text)) {
          return mode;
        }
      }
      return null;
    }

    @Override
    public String toString() {
      return text;
    }
  }

  private String cluster = "";
  private long generation;
  private Mode mode;
  private final Set<String> enforced = new HashSet<>();
  private final Set<String> audited = new HashSet<>();

  /** Null if nobody is a person. */
  private SubjectPattern people;

  private Authorization() {}

  /** What is in force before any good file was read: a mode with no exceptions, and no people. */
  static Authorization atStart(Mode mode) {
    Authorization authorization = new Authorization();
    authorization.mode = mode;
    return authorization;
  }

  /** Reads authorization.json. */
  public static Authorization parse(byte[] text) throws FormatException {
    Authorization authorization = new Authorization();
    StrictJson.read(text, MAX_FILE, FILE, authorization::read);
    return authorization;
  }

  /** The KafkaCluster of the file, namespace/name; empty if there was no file. */
  public String cluster() {
    return cluster;
  }

  /** The generation of the file, at least 1; 0 if there was none. */
  public long generation() {
    return generation;
  }

  /** The mode. */
  public Mode mode() {
    return mode;
  }

  /** The number of principals in both lists. */
  int entries() {
    return enforced.size() + audited.size();
  }

  /** Tells whether a principal, {@code Type:name}, is denied what Kafka's rules deny it. */
  public boolean isEnforced(String principal) {
    return switch (mode) {
      case AUDIT -> false;
      case HYBRID -> enforced.contains(principal);
      case ENFORCE -> !audited.contains(principal);
    };
  }

  /**
   * Tells whether a principal, {@code Type:name}, is a person. One that the pattern gives up on
   * ({@link SubjectPattern#BUDGET}) is: rather a record too many than one too few.
   */
  public boolean isPerson(String principal) {
    try {
      return people != null && people.matches(principal);
    } catch (SubjectPattern.ExhaustedException e) {
      return true;
    }
  }

  /**
   * Tells whether Kafka's rules decide in every mode. They do for the whole cluster, for delegation
   * tokens and SCRAM users, and for who may change configurations ({@code ALTER}, {@code
   * ALTER_CONFIGS}) of anything: what is let through there could be used to grant oneself the rest.
   */
  static boolean alwaysEnforced(ResourceType type, AclOperation operation) {
    return switch (type) {
      case TOPIC, GROUP, TRANSACTIONAL_ID ->
          operation == AclOperation.ALTER || operation == AclOperation.ALTER_CONFIGS;
      default -> true;
    };
  }

  private void read(JsonParser parser) throws IOException, FormatException {
    StrictJson.expect(parser, JsonToken.START_OBJECT, FILE, "an object");
    Set<String> seen = new HashSet<>();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String field = parser.currentName();
      if (!seen.add(field)) {
        throw new FormatException(
            Code.DUPLICATE, FILE + " has " + Printable.quote(field) + " twice");
      }
      parser.nextToken();
      readField(parser, field);
    }
    for (String field :
        new String[] {"version", "cluster", "generation", "mode", "enforced", "audited"}) {
      if (!seen.contains(field)) {
        throw new FormatException(
            field.equals("version") ? Code.VERSION : Code.VALUE, FILE + " has no " + field);
      }
    }
  }

  private void readField(JsonParser parser, String field) throws IOException, FormatException {
    switch (field) {
      case "version" -> StrictJson.version(parser, VERSION);
      case "cluster" -> cluster = StrictJson.cluster(parser);
      case "generation" -> generation = StrictJson.generation(parser);
      case "mode" -> {
        String text = StrictJson.string(parser, field);
        mode = Mode.of(text);
        if (mode == null) {
          throw new FormatException(
              Code.VALUE, "mode is " + Printable.quote(text) + ", not Audit, Hybrid or Enforce");
        }
      }
      case "enforced" -> readPrincipals(parser, field, enforced);
      case "audited" -> readPrincipals(parser, field, audited);
      case "people" -> {
        String text = StrictJson.string(parser, field);
        people = text.isEmpty() ? null : SubjectPattern.parse(text);
      }
      default ->
          throw new FormatException(
              Code.UNKNOWN_FIELD,
              FILE
                  + " has the field "
                  + Printable.quote(field)
                  + ", which this version does not know");
    }
  }

  private static void readPrincipals(JsonParser parser, String field, Set<String> into)
      throws IOException, FormatException {
    StrictJson.expect(parser, JsonToken.START_ARRAY, field, "an array");
    String before = null;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      String principal = StrictJson.string(parser, "a principal in " + field);
      if (!isPrincipal(principal)) {
        throw new FormatException(
            Code.VALUE,
            field
                + " has "
                + Printable.quote(principal)
                + ", which is no principal: write the type, a colon and a name of at most "
                + Mapping.MAX_NAME
                + " characters; * stands for nobody here");
      }
      int order = before == null ? -1 : compareCodePoints(before, principal);
      if (order >= 0) {
        throw new FormatException(
            order == 0 ? Code.DUPLICATE : Code.UNSORTED,
            field
                + " has "
                + Printable.quote(principal)
                + (order == 0 ? " twice" : " behind " + Printable.quote(before)));
      }
      if (into.size() == MAX_PRINCIPALS) {
        throw new FormatException(
            Code.BOUNDS, field + " has more than " + MAX_PRINCIPALS + " principals");
      }
      into.add(principal);
      before = principal;
    }
  }

  /** Tells whether a text is a type, of ASCII letters and digits, a colon and a name. */
  private static boolean isPrincipal(String text) {
    int colon = text.indexOf(':');
    return colon > 0
        && colon <= 64
        && text.substring(0, colon).chars().allMatch(c -> c < 0x80 && Character.isLetterOrDigit(c))
        && Mapping.isName(text.substring(colon + 1))
        && !text.substring(colon + 1).equals("*");
  }

  /** Compares as UTF-8 does octet by octet, which differs from {@link String#compareTo}. */
  static int compareCodePoints(String a, String b) {
    int end = Math.min(a.length(), b.length());
    int i = 0;
    while (i < end && a.charAt(i) == b.charAt(i)) {
      i++;
    }
    if (i == end) {
      return Integer.compare(a.length(), b.length());
    }
    // Surrogates stand for code points beyond all others.
    boolean surrogateA = Character.isSurrogate(a.charAt(i));
    boolean surrogateB = Character.isSurrogate(b.charAt(i));
    return surrogateA == surrogateB
        ? Character.compare(a.charAt(i), b.charAt(i))
        : Boolean.compare(surrogateA, surrogateB);
  }
}
