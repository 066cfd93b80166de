/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The rules of the contract, one row each, and attacks on them. */
class MappingTest {
  private static Json contract() {
    return Json.file()
        .exact("CN=orders,OU=shop,O=signet", "shop.orders")
        .exact("CN=billing,OU=shop,O=signet", "shop.billing")
        .spiffe("spiffe://kafka.signet.dev/user/shop/orders", "shop.orders")
        .spiffe("spiffe://kafka.signet.dev/user/shop/billing", "shop.billing")
        .pattern("CN=([a-z0-9-]+)\\.acme\\.example,O=Acme", "acme.$1")
        .pattern("CN=([a-z]+)\\.acme\\.example,O=(Acme|Acme2)", "second.$1.$2")
        .with("meshTrustDomain", "cluster.local");
  }

  private static String decide(Mapping mapping, Peer peer) {
    Decision decision = mapping.decide(peer);
    return decision instanceof Decision.Mapped mapped
        ? mapped.name()
        : "refused " + ((Decision.Refused) decision).reason().code();
  }

  private static Peer peer(String subject, String... uris) throws Exception {
    return Peer.of(Certificates.of(subject, uris));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      nullValues = "-",
      value = {
        "CN=orders,OU=shop,O=signet | - | shop.orders",
        "CN=orders,OU=shop,O=signet | spiffe://kafka.signet.dev/user/shop/orders | shop.orders",
        "'' | spiffe://kafka.signet.dev/user/shop/orders | shop.orders",
        "CN=nobody | spiffe://kafka.signet.dev/user/shop/orders | shop.orders",
        "CN=orders,OU=shop,O=signet | spiffe://other.example/x | shop.orders",
        "CN=orders,OU=shop,O=signet | https://example.com/x | shop.orders",
        "CN=orders,OU=shop,O=signet | spiffe://kafka.signet.dev/user/shop/billing"
            + " | refused disagreement",
        "CN=a-1.acme.example,O=Acme | - | acme.a-1",
        "CN=a.acme.example,O=Acme2 | - | second.a.Acme2",
        "CN=a.acme.example,O=Acme | spiffe://kafka.signet.dev/user/shop/orders"
            + " | refused disagreement",
        "CN=orders,OU=shop,O=Signet | - | refused unmapped",
        "CN=nobody | - | refused unmapped",
        "CN=nobody | spiffe://cluster.local/ns/a/sa/b | refused unmapped",
        "'' | - | refused unmapped",
      })
  void decides(String subject, String uri, String expected) throws Exception {
    Peer peer = uri == null ? peer(subject) : peer(subject, uri);
    assertEquals(expected, decide(contract().mapping(), peer));
  }

  @ParameterizedTest
  @CsvSource({
    "spiffe://cluster.local/ns/shop/sa/orders, sa:shop.orders",
    "spiffe://cluster.local/ns/shop/sa/orders.v2, sa:shop.orders.v2",
    "spiffe://cluster.local/ns/shop/sa/orders/x, -",
    "spiffe://cluster.local/ns/shop/sa/, -",
    "spiffe://cluster.local/ns//sa/orders, -",
    "spiffe://cluster.local/ns/shop.x/sa/orders, -",
    "spiffe://cluster.local/ns/-shop/sa/orders, -",
    "spiffe://cluster.local/ns/Shop/sa/orders, -",
    "spiffe://cluster.local/ns/shop/sa/orders-, -",
    "spiffe://cluster.local.evil/ns/shop/sa/orders, -",
    "spiffe://other.local/ns/shop/sa/orders, -",
    "SPIFFE://cluster.local/ns/shop/sa/orders, -",
  })
  void namesWorkloadsOfTheMeshExplicitly(String id, String expected) throws Exception {
    Peer peer = peer("", id);
    String hash = "unmapped:" + Mapping.sha256(new byte[] {0x30, 0x00});
    assertEquals(
        expected.equals("-") ? hash : expected,
        decide(contract().with("unmapped", "explicit").mapping(), peer));
  }

  @Test
  void namesNoWorkloadWithoutATrustDomain() throws Exception {
    Json json = contract().with("unmapped", "explicit").with("meshTrustDomain", "");
    Peer peer = Peer.of(new byte[] {0x30, 0x00}, List.of("spiffe:///ns/shop/sa/orders"));
    assertEquals(
        "unmapped:" + Mapping.sha256(new byte[] {0x30, 0x00}), decide(json.mapping(), peer));
  }

  @ParameterizedTest
  @CsvSource({"63, 253, true", "64, 253, false", "63, 254, false"})
  void boundsTheNamesOfWorkloads(int namespace, int account, boolean named) throws Exception {
    String id = "spiffe://cluster.local/ns/" + "n".repeat(namespace) + "/sa/" + "s".repeat(account);
    String name = decide(contract().with("unmapped", "explicit").mapping(), peer("", id));
    assertEquals(named, name.startsWith("sa:"));
  }

  @Test
  void hashesTheSubjectOfTheUnmapped() throws Exception {
    String subject = "CN=nobody,O=Elsewhere";
    assertEquals(
        "unmapped:" + Mapping.sha256(Certificates.der(subject)),
        decide(contract().with("unmapped", "explicit").mapping(), peer(subject)));
  }

  @Test
  void refusesEverybodyWithoutAMapping() throws Exception {
    assertEquals("refused no-mapping", decide(Mapping.none(), peer("CN=orders,OU=shop,O=signet")));
  }

  // Attacks.

  @Test
  void subjectThatImitatesAnotherRdn() throws Exception {
    // One CN whose value reads like three RDNs, and one that reads like the rest of a pattern.
    for (String commonName : List.of("orders,OU=shop,O=signet", "a.acme.example,O=Acme")) {
      byte[] value = commonName.getBytes(java.nio.charset.StandardCharsets.UTF_8);
      byte[] der = DerBytes.name(DerBytes.rdn(DerBytes.attribute("550403", 0x0c, value)));
      assertEquals("refused unmapped", decide(contract().mapping(), Peer.of(Certificates.of(der))));
    }
  }

  @Test
  void rdnsInTheWrongOrder() throws Exception {
    assertEquals(
        "refused unmapped", decide(contract().mapping(), peer("O=signet,OU=shop,CN=orders")));
  }

  @Test
  void multiValuedRdnThatImitatesSeveral() throws Exception {
    assertEquals(
        "refused unmapped", decide(contract().mapping(), peer("CN=orders+OU=shop,O=signet")));
  }

  @Test
  void emptySubjectIsNotUser() throws Exception {
    // An empty principal would be "User:", which Kafka's default rule makes of mesh certificates.
    Mapping mapping = contract().pattern(".*", "x$1".substring(0, 1)).mapping();
    assertEquals("refused unmapped", decide(mapping, peer("")));
    assertNull(mapping.principalOf(""));
  }

  @Test
  void secondSpiffeIdInTheCertificate() throws Exception {
    String mine = "spiffe://kafka.signet.dev/user/shop/orders";
    assertEquals(
        "refused several-spiffe-ids",
        decide(contract().mapping(), peer("CN=orders,OU=shop,O=signet", mine, mine)));
    assertEquals(
        "refused several-spiffe-ids",
        decide(contract().mapping(), peer("", mine, "SpIfFe://cluster.local/ns/a/sa/b")));
  }

  @Test
  void schemeInOtherLettersIsNoSpiffeIdOfTheMapping() throws Exception {
    assertEquals(
        "refused unmapped",
        decide(contract().mapping(), peer("", "SPIFFE://kafka.signet.dev/user/shop/orders")));
  }

  @Test
  void subjectWithControlCharactersMatchesNoPattern() throws Exception {
    Mapping mapping = Json.file().pattern("CN=[^,]*", "any").mapping();
    for (int c : new int[] {0x0a, 0x1f, 0x7f, 0x85, 0x9f, 0x2028, 0x2029, 0xfffd}) {
      String value = "a" + Character.toString(c) + "b";
      byte[] utf8 = value.getBytes(java.nio.charset.StandardCharsets.UTF_8);
      byte[] der = DerBytes.name(DerBytes.rdn(DerBytes.attribute("550403", 0x0c, utf8)));
      assertEquals("refused unmapped", decide(mapping, Peer.of(der, List.of())), "U+" + c);
    }
    assertEquals("any", decide(mapping, peer("CN=a\u00a0b")));
  }

  @Test
  void subjectLongerThanAnyMatchesNoPattern() throws Exception {
    Mapping mapping = Json.file().pattern("CN=[a-z]*", "any").mapping();
    assertEquals("any", mapping.principalOf("CN=" + "a".repeat(2045)));
    assertNull(mapping.principalOf("CN=" + "a".repeat(2046)));
  }

  @Test
  void patternCannotGiveANameThatIsNone() throws Exception {
    Mapping mapping = Json.file().pattern("CN=([a-z]*)", "$1").pattern("CN=.*", "second").mapping();
    assertEquals("second", mapping.principalOf("CN="));
    assertEquals("second", mapping.principalOf("CN=" + "a".repeat(513)));
    assertEquals("a".repeat(512), mapping.principalOf("CN=" + "a".repeat(512)));
  }

  @Test
  void groupThatTookNoPartIsEmpty() throws Exception {
    Mapping mapping = Json.file().pattern("CN=([a-z]+)(-[0-9]+)?|O=(x)", "u.$1$2$3$$").mapping();
    assertEquals("u.a$", mapping.principalOf("CN=a"));
    assertEquals("u.a-1$", mapping.principalOf("CN=a-1"));
    assertEquals("u.x$", mapping.principalOf("O=x"));
  }
}
