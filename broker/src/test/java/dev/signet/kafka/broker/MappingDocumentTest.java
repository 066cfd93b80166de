/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.signet.kafka.broker.FormatException.Code;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The format, strictly. */
class MappingDocumentTest {
  private static final String GOOD =
      "{\"version\":1,\"cluster\":\"kafka/kafka\",\"generation\":12,\"meshTrustDomain\":\"cluster.local\","
          + "\"unmapped\":\"refuse\",\"exact\":{\"CN=a\":\"a\"},\"spiffe\":{\"spiffe://a\":\"a\"},"
          + "\"patterns\":[{\"pattern\":\"CN=([a-z]+)\",\"principal\":\"p.$1\"}],\"shards\":[]}";

  private static Mapping parse(String text) throws FormatException {
    return Mapping.parse(text.getBytes(StandardCharsets.UTF_8), Map.of());
  }

  @Test
  void readsWhatTheContractShows() throws Exception {
    Mapping mapping = parse(GOOD);
    assertEquals("kafka/kafka", mapping.cluster());
    assertEquals(12, mapping.generation());
    assertEquals(3, mapping.entries());
  }

  @Test
  void readsTheLargestFile() throws Exception {
    int spaces = MappingDocument.MAX_FILE - GOOD.length();
    assertEquals(12, parse(GOOD + " ".repeat(spaces)).generation());
    assertCode(Code.BOUNDS, GOOD + " ".repeat(spaces + 1));
  }

  static Stream<Arguments> bad() {
    return Stream.of(
        bad(Code.VERSION, "\"version\":1", "\"version\":2"),
        bad(Code.VERSION, "\"version\":1", "\"version\":1.0"),
        bad(Code.VERSION, "\"version\":1", "\"version\":\"1\""),
        bad(Code.VERSION, "\"version\":1,", ""),
        bad(Code.SYNTAX, "{\"version\"", "{{\"version\""),
        bad(Code.SYNTAX, "{\"version\"", "\ufeff{\"version\""),
        bad(Code.SYNTAX, "{\"version\"", "// comment\n{\"version\""),
        bad(Code.SYNTAX, "\"version\"", "version"),
        bad(Code.SYNTAX, "\"version\"", "'version'"),
        bad(Code.SYNTAX, "\"generation\":12", "\"generation\":012"),
        bad(Code.SYNTAX, "\"generation\":12", "\"generation\":+12"),
        bad(Code.SYNTAX, "\"generation\":12", "\"generation\":NaN"),
        bad(Code.SYNTAX, "\"shards\":[]}", "\"shards\":[],}"),
        bad(Code.SYNTAX, "\"shards\":[]}", "\"shards\":[]}{}"),
        bad(Code.SYNTAX, "\"shards\":[]}", "\"shards\":[]} x"),
        bad(Code.SYNTAX, "\"shards\":[]}", "\"shards\":[]"),
        bad(Code.SYNTAX, "\"CN=a\":\"a\"", "\"CN=a\":\"a\nb\""),
        bad(Code.SYNTAX, "\"CN=a\":\"a\"", "\"CN=\\ud800\":\"a\""),
        bad(Code.SYNTAX, "\"CN=a\":\"a\"", "\"CN=a\":\"\\udc00\\ud800\""),
        bad(Code.UNKNOWN_FIELD, "\"shards\"", "\"Shards\""),
        bad(Code.UNKNOWN_FIELD, "\"shards\":[]", "\"shards\":[],\"x\":1"),
        bad(Code.UNKNOWN_FIELD, "\"shards\":[]", "\"file\":\"x\""),
        bad(Code.UNKNOWN_FIELD, "\"principal\"", "\"exact\":{},\"principal\""),
        bad(Code.DUPLICATE, "\"shards\":[]", "\"shards\":[],\"generation\":12"),
        bad(Code.DUPLICATE, "\"CN=a\":\"a\"", "\"CN=a\":\"a\",\"CN=a\":\"a\""),
        bad(Code.DUPLICATE, "\"CN=a\":\"a\"", "\"CN=a\":\"a\",\"CN=\\u0061\":\"b\""),
        bad(Code.DUPLICATE, "\"spiffe://a\":\"a\"", "\"spiffe://a\":\"a\",\"spiffe://a\":\"a\""),
        bad(Code.DUPLICATE, "\"principal\":", "\"pattern\":\"x\",\"principal\":"),
        bad(Code.VALUE, "\"generation\":12", "\"generation\":0"),
        bad(Code.VALUE, "\"generation\":12", "\"generation\":-1"),
        bad(Code.VALUE, "\"generation\":12", "\"generation\":1e3"),
        bad(Code.VALUE, "\"generation\":12", "\"generation\":9223372036854775808"),
        bad(Code.VALUE, "\"generation\":12", "\"generation\":null"),
        bad(Code.VALUE, "\"generation\":12,", ""),
        bad(Code.VALUE, "\"cluster\":\"kafka/kafka\"", "\"cluster\":\"\""),
        bad(Code.VALUE, "\"cluster\":\"kafka/kafka\",", ""),
        bad(Code.VALUE, "\"unmapped\":\"refuse\"", "\"unmapped\":\"Refuse\""),
        bad(Code.VALUE, "\"meshTrustDomain\":\"cluster.local\"", "\"meshTrustDomain\":\"a/b\""),
        bad(Code.VALUE, "\"meshTrustDomain\":\"cluster.local\"", "\"meshTrustDomain\":null"),
        bad(Code.VALUE, "{\"CN=a\":\"a\"}", "null"),
        bad(Code.VALUE, "{\"CN=a\":\"a\"}", "[]"),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":null"),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":{}"),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":1"),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"\":\"a\""),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":\"\""),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":\"a\\u0000\""),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":\"a\\u007f\""),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"CN=a\":\"" + "a".repeat(513) + "\""),
        bad(Code.VALUE, "\"CN=a\":\"a\"", "\"" + "a".repeat(2049) + "\":\"a\""),
        bad(Code.VALUE, "\"spiffe://a\"", "\"spiffe:/a\""),
        bad(Code.VALUE, "\"spiffe://a\"", "\"SPIFFE://a\""),
        bad(Code.VALUE, "\"spiffe://a\"", "\"spiffe://" + "a".repeat(2040) + "\""),
        bad(Code.VALUE, "[{\"pattern\"", "[null,{\"pattern\""),
        bad(Code.VALUE, "\"pattern\":\"CN=([a-z]+)\",", ""),
        bad(Code.PATTERN, "([a-z]+)", "([a-z]+)\\\\1"),
        bad(Code.BOUNDS, "CN=([a-z]+)", ""),
        bad(Code.BOUNDS, "CN=([a-z]+)", "a".repeat(513)),
        bad(Code.TEMPLATE, "p.$1", "p.$2"),
        bad(Code.TEMPLATE, "p.$1", "p.$0"),
        bad(Code.TEMPLATE, "p.$1", "p.${1}"),
        bad(Code.TEMPLATE, "p.$1", "p.$"),
        bad(Code.TEMPLATE, "p.$1", ""),
        bad(Code.TEMPLATE, "([a-z]+)", "(?:([a-z])x)+"),
        bad(Code.SHARD, "\"shards\":[]", shards("mapping-1.json", "0".repeat(64))),
        bad(Code.SHARD, "\"shards\":[]", shards("mapping-1.json", "0".repeat(63))),
        bad(Code.SHARD, "\"shards\":[]", shards("mapping-16.json", "0".repeat(64))),
        bad(Code.SHARD, "\"shards\":[]", shards("../mapping-1.json", "0".repeat(64))),
        bad(Code.SHARD, "\"shards\":[]", shards("mapping-1.json\\n", "0".repeat(64))),
        bad(Code.VALUE, "\"shards\":[]", "\"shards\":{}"));
  }

  private static String shards(String file, String sha256) {
    return "\"shards\":[{\"file\":\"" + file + "\",\"sha256\":\"" + sha256 + "\"}]";
  }

  private static Arguments bad(Code code, String part, String instead) {
    assertTrue(GOOD.contains(part), part);
    return Arguments.of(code, GOOD.replace(part, instead));
  }

  @ParameterizedTest
  @MethodSource("bad")
  void refuses(Code code, String text) {
    assertCode(code, text);
  }

  private static void assertCode(Code code, String text) {
    assertEquals(code, assertThrows(FormatException.class, () -> parse(text)).code(), () -> text);
  }

  @Test
  void refusesWhatIsNoUtf8() {
    for (String latin1 : new String[] {"\u00ff", "\u00c0\u0080", "\u00ed\u00a0\u0080"}) {
      byte[] text = GOOD.replace("CN=a", latin1).getBytes(StandardCharsets.ISO_8859_1);
      FormatException e = assertThrows(FormatException.class, () -> Mapping.parse(text, Map.of()));
      assertEquals(Code.SYNTAX, e.code());
    }
  }

  @Test
  void refusesDeepNesting() {
    assertCode(Code.VALUE, GOOD.replace("{\"CN=a\":\"a\"}", "[".repeat(100_000)));
    assertCode(Code.UNKNOWN_FIELD, GOOD.replace("\"exact\"", "\"x\":" + "[".repeat(100_000)));
  }

  @Test
  void refusesOnePatternTooMany() throws Exception {
    Json json = Json.file();
    for (int i = 0; i < MappingDocument.MAX_PATTERNS; i++) {
      json.pattern("CN=" + i, "p" + i);
    }
    assertEquals(256, json.mapping().entries());
    json.pattern("CN=x", "x");
    assertCode(Code.BOUNDS, json.text());
  }

  @Test
  void addsShards() throws Exception {
    byte[] one = Json.shard().exact("CN=b", "b").spiffe("spiffe://b", "b").bytes();
    byte[] two = Json.shard().exact("CN=c", "c").bytes();
    byte[] text =
        Json.file()
            .exact("CN=a", "a")
            .shard("mapping-1.json", one)
            .shard("mapping-15.json", two)
            .bytes();
    Map<String, byte[]> shards = new HashMap<>();
    shards.put("mapping-1.json", one);
    assertEquals(Code.SHARD, refusal(text, shards));
    shards.put("mapping-15.json", one);
    assertEquals(Code.SHARD, refusal(text, shards));
    shards.put("mapping-15.json", two);
    Mapping mapping = Mapping.parse(text, shards);
    assertEquals(4, mapping.entries());
    assertEquals("c", mapping.principalOf("CN=c"));
  }

  @Test
  void readsShardsStrictly() {
    UnaryOperator<String> same = UnaryOperator.identity();
    assertShard(Code.DUPLICATE, Json.shard().exact("CN=a", "a"), same);
    assertShard(Code.DUPLICATE, Json.shard().spiffe("spiffe://a", "a"), same);
    assertShard(Code.UNKNOWN_FIELD, Json.shard().with("generation", 1), same);
    assertShard(Code.UNKNOWN_FIELD, Json.shard().pattern("a", "a"), same);
    assertShard(Code.VERSION, Json.shard().with("version", 2), same);
    assertShard(Code.SYNTAX, Json.shard(), text -> text + "x");
    assertShard(Code.BOUNDS, Json.shard(), text -> text + " ".repeat(MappingDocument.MAX_FILE));
    assertShard(Code.VALUE, Json.shard(), text -> text.replace(",\"spiffe\":{}", ""));
  }

  private static void assertShard(Code code, Json shard, UnaryOperator<String> change) {
    byte[] content = change.apply(shard.text()).getBytes(StandardCharsets.UTF_8);
    byte[] text =
        Json.file()
            .exact("CN=a", "a")
            .spiffe("spiffe://a", "a")
            .shard("mapping-1.json", content)
            .bytes();
    assertEquals(code, refusal(text, Map.of("mapping-1.json", content)));
  }

  @Test
  void refusesAShardThatIsNamedTwice() {
    byte[] content = Json.shard().bytes();
    byte[] text =
        Json.file().shard("mapping-1.json", content).shard("mapping-1.json", content).bytes();
    assertEquals(Code.SHARD, refusal(text, Map.of("mapping-1.json", content)));
  }

  private static Code refusal(byte[] text, Map<String, byte[]> shards) {
    return assertThrows(FormatException.class, () -> Mapping.parse(text, shards)).code();
  }

  @Test
  void brokenTextNeverEscapesAsAnotherException() {
    // Cuts, flips and doubles octets of a good file; the seed makes a failure repeatable.
    Random random = new Random(12);
    byte[] good = GOOD.getBytes(StandardCharsets.UTF_8);
    int refused = 0;
    for (int round = 0; round < 20_000; round++) {
      byte[] broken = java.util.Arrays.copyOf(good, good.length - random.nextInt(3));
      for (int flips = random.nextInt(3); flips >= 0; flips--) {
        broken[random.nextInt(broken.length)] = good[random.nextInt(good.length)];
      }
      try {
        Mapping.parse(broken, Map.of());
      } catch (FormatException e) {
        refused++;
      }
    }
    assertTrue(refused > 15_000, "most must be refused, were " + refused);
  }
}
