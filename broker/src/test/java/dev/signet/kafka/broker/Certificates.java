/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.io.ByteArrayInputStream;
import java.math.BigInteger;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.time.Instant;
import java.util.Date;
import java.util.List;
import javax.security.auth.x500.X500Principal;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;

/** Test certificates, all of one throw-away key. */
final class Certificates {
  static final KeyPair KEY = newKey();

  private static final Date FROM = Date.from(Instant.parse("2020-01-01T00:00:00Z"));
  private static final Date TO = Date.from(Instant.parse("2120-01-01T00:00:00Z"));
  private static final X500Name ISSUER = new X500Name("CN=Test CA");

  private Certificates() {}

  private static KeyPair newKey() {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec("secp256r1"));
      return generator.generateKeyPair();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  static PrivateKey key() {
    return KEY.getPrivate();
  }

  /** A certificate with a subject in RFC 2253 and URI SANs. */
  static X509Certificate of(String subject, String... uris) {
    return of(der(subject), uris);
  }

  /** A certificate with any subject in DER. */
  static X509Certificate of(byte[] subject, String... uris) {
    if (uris.length == 0) {
      return with(subject, List.of());
    }
    ASN1Encodable[] names = new ASN1Encodable[uris.length];
    for (int i = 0; i < uris.length; i++) {
      names[i] = uri(uris[i]);
    }
    Extension san = san(names);
    // RFC 5280 section 4.2.1.6, which the JDK insists on.
    boolean critical = subject.length == 2;
    return with(
        subject, List.of(new Extension(san.getExtnId(), critical, san.getExtnValue().getOctets())));
  }

  static GeneralName uri(String uri) {
    return new GeneralName(GeneralName.uniformResourceIdentifier, uri);
  }

  /** A subject alternative name extension that is not critical. */
  static Extension san(ASN1Encodable... names) {
    try {
      return new Extension(
          Extension.subjectAlternativeName, false, new DERSequence(names).getEncoded());
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  static byte[] der(String subject) {
    return new X500Principal(subject).getEncoded();
  }

  static X509Certificate with(byte[] subject, List<Extension> extensions) {
    return parse(encoded(subject, extensions));
  }

  static X509Certificate parse(byte[] encoded) {
    try {
      return (X509Certificate)
          CertificateFactory.getInstance("X.509")
              .generateCertificate(new ByteArrayInputStream(encoded));
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  static byte[] encoded(byte[] subject, List<Extension> extensions) {
    try {
      var builder =
          new JcaX509v3CertificateBuilder(
              ISSUER, BigInteger.TEN, FROM, TO, X500Name.getInstance(subject), KEY.getPublic());
      for (Extension extension : extensions) {
        builder.addExtension(extension);
      }
      return builder
          .build(new JcaContentSignerBuilder("SHA256withECDSA").build(KEY.getPrivate()))
          .getEncoded();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /** A self-signed certificate that a trust store may hold. */
  static X509Certificate authority() {
    try {
      return with(
          ISSUER.getEncoded(),
          List.of(
              new Extension(
                  Extension.basicConstraints, true, new BasicConstraints(true).getEncoded())));
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /** An extension under an OID that Java does not know, as long as that of subjectAltName. */
  static Extension stranger(byte[] value) {
    return new Extension(new ASN1ObjectIdentifier("2.5.29.99"), false, value);
  }
}
