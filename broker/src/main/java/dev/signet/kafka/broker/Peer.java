/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.nio.charset.StandardCharsets;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import javax.security.auth.x500.X500Principal;

/**
 * Who the other end of a TLS connection says it is: the subject and the SPIFFE IDs of its
 * certificate.
 *
 * <p>They are read from the octets that the CA signed, not through {@link
 * X509Certificate#getSubjectAlternativeNames()}: Java 17 silently leaves out a non-critical SAN
 * extension that it cannot parse (one odd URI is enough), so a SPIFFE ID beside it would go unseen;
 * and {@link X500Principal#getEncoded()} may put the attributes of a multi-valued RDN in another
 * order than the certificate has.
 */
public final class Peer {
  /** Content of the OBJECT IDENTIFIER 2.5.29.17, subjectAltName. */
  private static final byte[] SUBJECT_ALTERNATIVE_NAME = {0x55, 0x1d, 0x11};

  private static final int VERSION = 0xa0;
  private static final int EXTENSIONS = 0xa3;
  private static final int BOOLEAN = 0x01;

  /** GeneralName's uniformResourceIdentifier, [6] IMPLICIT IA5String (RFC 5280 section 4.2.1.6). */
  private static final int URI = 0x86;

  private static final String SPIFFE = "spiffe:";

  private final byte[] subjectDer;
  private final String subject;
  private final List<String> spiffeIds;

  private Peer(byte[] subjectDer, String subject, List<String> spiffeIds) {
    this.subjectDer = subjectDer;
    this.subject = subject;
    this.spiffeIds = spiffeIds;
  }

  /** A certificate that names nobody. */
  public static final class MalformedException extends Exception {
    private static final long serialVersionUID = 1L;

    private final Reason reason;

    MalformedException(Reason reason, Throwable cause) {
      super(reason.code() + ": " + cause.getMessage(), cause);
      this.reason = reason;
    }

    /** {@link Reason#MALFORMED_SUBJECT} or {@link Reason#MALFORMED_SAN}. */
    public Reason reason() {
      return reason;
    }
  }

  /** Reads a certificate that TLS has verified. */
  public static Peer of(X509Certificate certificate) throws MalformedException {
    byte[] subjectDer;
    Der rest;
    try {
      rest = new Der(certificate.getTBSCertificate()).next(Der.SEQUENCE);
      if (rest.peek() == VERSION) {
        rest.next();
      }
      rest.next(); // serialNumber
      rest.next(); // signature
      rest.next(); // issuer
      rest.next(); // validity
      subjectDer = rest.nextWhole(Der.SEQUENCE);
    } catch (Der.MalformedException | CertificateEncodingException e) {
      throw new MalformedException(Reason.MALFORMED_SUBJECT, e);
    }
    // The JDK's text of this very certificate is what Kafka's own builder would see, and is cached
    // in it.
    String subject = checkedText(subjectDer, certificate.getSubjectX500Principal());
    try {
      return new Peer(subjectDer, subject, spiffeIds(uris(rest)));
    } catch (Der.MalformedException e) {
      throw new MalformedException(Reason.MALFORMED_SAN, e);
    }
  }

  /**
   * Takes a subject and URIs from elsewhere, for tests of the contract.
   *
   * @param subjectDer a DER-encoded X.501 name
   * @param uris all URI SANs; those of another scheme than {@code spiffe:} are ignored
   */
  public static Peer of(byte[] subjectDer, List<String> uris) throws MalformedException {
    X500Principal principal;
    try {
      principal = new X500Principal(subjectDer);
    } catch (IllegalArgumentException e) {
      throw new MalformedException(Reason.MALFORMED_SUBJECT, e);
    }
    return new Peer(subjectDer.clone(), checkedText(subjectDer, principal), spiffeIds(uris));
  }

  /**
   * The subject as {@link X500Principal#getName()} prints it (RFC 2253), which is what Kafka's
   * rules see.
   */
  public String subject() {
    return subject;
  }

  /** The URI SANs whose scheme is {@code spiffe}, as they stand in the certificate. */
  public List<String> spiffeIds() {
    return spiffeIds;
  }

  /** The octets of the subject in the certificate. */
  byte[] subjectDer() {
    return subjectDer.clone();
  }

  private static String checkedText(byte[] subjectDer, X500Principal principal)
      throws MalformedException {
    try {
      checkName(new Der(subjectDer));
      return principal.getName();
    } catch (Der.MalformedException | IllegalArgumentException e) {
      throw new MalformedException(Reason.MALFORMED_SUBJECT, e);
    }
  }

  /**
   * Checks a Name (RFC 5280 section 4.1.2.4) as strictly as the Go side does; the JDK lets more
   * pass.
   */
  private static void checkName(Der input) throws Der.MalformedException {
    Der name = input.next(Der.SEQUENCE);
    if (!input.isEmpty()) {
      throw new Der.MalformedException("octets behind the name");
    }
    while (!name.isEmpty()) {
      Der rdn = name.next(Der.SET);
      do {
        Der attribute = rdn.next(Der.SEQUENCE);
        if (!attribute.next(Der.OID).isObjectIdentifier()) {
          throw new Der.MalformedException("malformed attribute type");
        }
        attribute.next();
        if (!attribute.isEmpty()) {
          throw new Der.MalformedException("octets behind an attribute's value");
        }
      } while (!rdn.isEmpty());
    }
  }

  /** Reads the URIs of the SAN extension out of what follows the subject in a TBSCertificate. */
  private static List<String> uris(Der rest) throws Der.MalformedException {
    rest.next(); // subjectPublicKeyInfo
    while (!rest.isEmpty() && rest.peek() != EXTENSIONS) {
      rest.next(); // issuerUniqueID, subjectUniqueID
    }
    List<String> uris = new ArrayList<>();
    if (rest.isEmpty()) {
      return uris;
    }
    Der extensions = rest.next().next(Der.SEQUENCE);
    boolean found = false;
    while (!extensions.isEmpty()) {
      Der extension = extensions.next(Der.SEQUENCE);
      if (!Arrays.equals(extension.next(Der.OID).rest(), SUBJECT_ALTERNATIVE_NAME)) {
        continue;
      }
      if (found) {
        throw new Der.MalformedException("two subject alternative name extensions");
      }
      found = true;
      if (extension.peek() == BOOLEAN) {
        extension.next(); // critical
      }
      addUris(extension.next(Der.OCTET_STRING), uris);
    }
    return uris;
  }

  private static void addUris(Der value, List<String> uris) throws Der.MalformedException {
    Der names = value.next(Der.SEQUENCE);
    if (!value.isEmpty()) {
      throw new Der.MalformedException("octets behind the subject alternative names");
    }
    while (!names.isEmpty()) {
      boolean isUri = names.peek() == URI;
      byte[] content = names.next().rest();
      if (!isUri) {
        continue;
      }
      for (byte octet : content) {
        if (octet < 0) {
          throw new Der.MalformedException("a URI that is no IA5String");
        }
      }
      uris.add(new String(content, StandardCharsets.US_ASCII));
    }
  }

  private static List<String> spiffeIds(List<String> uris) {
    return uris.stream().filter(Peer::isSpiffe).toList();
  }

  private static boolean isSpiffe(String uri) {
    return uri.length() >= SPIFFE.length()
        && uri.substring(0, SPIFFE.length()).toLowerCase(Locale.ROOT).equals(SPIFFE);
  }
}
