/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.bouncycastle.asn1.DERIA5String;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERTaggedObject;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PeerTest {
  private static final byte[] SUBJECT = Certificates.der("CN=a,O=b");
  private static final String ID = "spiffe://kafka.signet.dev/user/a/b";

  private static GeneralName dns(String name) {
    return new GeneralName(GeneralName.dNSName, name);
  }

  @Test
  void readsSubjectAndSpiffeIds() throws Exception {
    Extension san =
        Certificates.san(
            dns("a.example"),
            Certificates.uri("https://example.com"),
            Certificates.uri(ID),
            new GeneralName(GeneralName.rfc822Name, "spiffe:@example.com"));
    Peer peer = Peer.of(Certificates.with(SUBJECT, List.of(san)));
    assertEquals("CN=a,O=b", peer.subject());
    assertEquals(List.of(ID), peer.spiffeIds());
    assertArrayEquals(SUBJECT, peer.subjectDer());
  }

  @Test
  void criticalSanIsReadToo() throws Exception {
    Extension san = Certificates.san(Certificates.uri(ID));
    Extension critical = new Extension(san.getExtnId(), true, san.getExtnValue().getOctets());
    assertEquals(List.of(ID), Peer.of(Certificates.with(SUBJECT, List.of(critical))).spiffeIds());
  }

  @Test
  void certificateWithoutExtensions() throws Exception {
    Peer peer = Peer.of(Certificates.of(new byte[] {0x30, 0x00}));
    assertEquals("", peer.subject());
    assertEquals(List.of(), peer.spiffeIds());
  }

  @Test
  void subjectIsHashedAsTheCertificateHasIt() throws Exception {
    // A SET whose elements are not in DER order: the JDK would sort them when it encodes the name
    // anew.
    byte[] commonName = DerBytes.attribute("550403", 0x0c, new byte[] {'c'});
    byte[] organization = DerBytes.attribute("55040a", 0x0c, new byte[] {'o'});
    byte[] sorted = DerBytes.name(DerBytes.rdn(commonName, organization));
    byte[] subject = DerBytes.name(DerBytes.rdn(organization, commonName));
    X509Certificate certificate = patched(Certificates.encoded(sorted, List.of()), sorted, subject);
    assertArrayEquals(sorted, certificate.getSubjectX500Principal().getEncoded());
    Peer peer = Peer.of(certificate);
    assertEquals("O=o+CN=c", peer.subject());
    assertArrayEquals(subject, peer.subjectDer());
  }

  private static X509Certificate patched(byte[] encoded, byte[] part, byte[] instead) {
    HexFormat hex = HexFormat.of();
    String all = hex.formatHex(encoded);
    assertTrue(all.contains(hex.formatHex(part)));
    return Certificates.parse(
        hex.parseHex(all.replace(hex.formatHex(part), hex.formatHex(instead))));
  }

  // Attacks.

  @Test
  void sanThatJavaCannotParseHidesNoSpiffeId() throws Exception {
    Extension san = Certificates.san(Certificates.uri(ID), Certificates.uri("no scheme"));
    X509Certificate certificate = Certificates.with(SUBJECT, List.of(san));
    try {
      assertNull(certificate.getSubjectAlternativeNames(), "Java 17 leaves it out");
    } catch (CertificateParsingException e) {
      assertTrue(Runtime.version().feature() > 17, "later versions tell");
    }
    assertEquals(List.of(ID), Peer.of(certificate).spiffeIds());
  }

  @Test
  void secondSanExtensionHidesNoSpiffeId() throws Exception {
    byte[] hidden =
        new DERSequence(
                new org.bouncycastle.asn1.ASN1Encodable[] {
                  Certificates.uri(ID), Certificates.uri("no scheme")
                })
            .getEncoded();
    byte[] encoded =
        Certificates.encoded(
            SUBJECT,
            List.of(
                Certificates.san(Certificates.uri("https://example.com")),
                Certificates.stranger(hidden)));
    HexFormat hex = HexFormat.of();
    X509Certificate certificate =
        patched(encoded, hex.parseHex("0603551d63"), hex.parseHex("0603551d11"));
    assertNotNull(certificate.getSubjectAlternativeNames(), "the JDK sees the first only");
    Peer.MalformedException e =
        assertThrows(Peer.MalformedException.class, () -> Peer.of(certificate));
    assertEquals(Reason.MALFORMED_SAN, e.reason());
  }

  @Test
  void sanThatIsNoSequence() throws Exception {
    Extension san =
        new Extension(Extension.subjectAlternativeName, false, new DERIA5String(ID).getEncoded());
    X509Certificate certificate = Certificates.with(SUBJECT, List.of(san));
    Peer.MalformedException e =
        assertThrows(Peer.MalformedException.class, () -> Peer.of(certificate));
    assertEquals(Reason.MALFORMED_SAN, e.reason());
  }

  @Test
  void uriThatIsNoAscii() throws Exception {
    byte[] uri = (ID + "é").getBytes(StandardCharsets.UTF_8);
    Extension san =
        Certificates.san(
            new DERTaggedObject(false, 6, new org.bouncycastle.asn1.DEROctetString(uri)));
    X509Certificate certificate = Certificates.with(SUBJECT, List.of(san));
    Peer.MalformedException e =
        assertThrows(Peer.MalformedException.class, () -> Peer.of(certificate));
    assertEquals(Reason.MALFORMED_SAN, e.reason());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "", // nothing
        "30", // no length
        "3001", // cut short
        "300000", // something behind
        "3080", // indefinite length
        "308100", // length not in its shortest form
        "3100", // no SEQUENCE
        "30023100", // RDN without attributes
        "30043102 3000", // attribute without type
        "300b 3109 3007 0603550403 0c00 00", // something behind an attribute
        "300d 310b 3009 0603550403 0c01 61 00", // something behind the value
        "300b 3109 3007 0603550480 0c00", // OID cut short
        "300b 3109 3007 0603558003 0c00", // OID not in its shortest form
        "300b 3109 3007 0203550403 0c00", // type that is no OID
        "300b 3109 3007 0603550403 1f00", // high tag number
      })
  void malformedSubject(String hex) {
    byte[] subject = HexFormat.of().parseHex(hex.replace(" ", ""));
    Peer.MalformedException e =
        assertThrows(Peer.MalformedException.class, () -> Peer.of(subject, List.of()));
    assertEquals(Reason.MALFORMED_SUBJECT, e.reason());
  }

  @Test
  void brokenOctetsNeverEscapeAsAnotherException() {
    // Flips octets of a good name; the seed makes a failure repeatable.
    Random random = new Random(4);
    byte[] good = Certificates.der("CN=a\\,b+OU=c,O=d,1.2.3.4=e");
    for (int round = 0; round < 20_000; round++) {
      byte[] broken = good.clone();
      for (int flips = random.nextInt(4); flips >= 0; flips--) {
        broken[random.nextInt(broken.length)] = (byte) random.nextInt();
      }
      try {
        assertNotNull(Peer.of(broken, List.of()).subject());
      } catch (Peer.MalformedException e) {
        assertEquals(Reason.MALFORMED_SUBJECT, e.reason());
      }
    }
  }
}
