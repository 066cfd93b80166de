/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * Why a peer has no principal. The codes are those of {@code test/vectors/mapping} and of log lines
 * and metrics.
 */
public enum Reason {
  /** More than one SPIFFE ID in the certificate, which X509-SVID section 2 forbids. */
  SEVERAL_SPIFFE_IDS(
      "several-spiffe-ids",
      "issue a certificate with exactly one URI SAN that begins with spiffe:"),
  /** The subject is one principal, the SPIFFE ID another. */
  DISAGREEMENT(
      "disagreement",
      "give the subject and the SPIFFE ID of the certificate to the same KafkaUser, or issue it without one of them"),
  /** No entry knows the subject or the SPIFFE ID. */
  UNMAPPED(
      "unmapped",
      "create a KafkaUser that has this subject or SPIFFE ID; if there is one, look at its conditions and wait until"
          + " its generation of the mapping file has reached the broker"),
  /** The subject is not the DER encoding of an X.501 name. */
  MALFORMED_SUBJECT(
      "malformed-subject", "issue the certificate anew, by a CA that encodes subjects in DER"),
  /**
   * The subject alternative names cannot be read, so a second identity could hide in them. Brokers
   * only.
   */
  MALFORMED_SAN(
      "malformed-san",
      "issue the certificate anew, with one well-formed subject alternative name extension"),
  /** No good mapping file was ever read, so nobody is known. Brokers only. */
  NO_MAPPING(
      "no-mapping",
      "put a good mapping file where signet.mapping.file points, and see the broker's log for why it could not be read");

  private final String code;
  private final String remedy;

  Reason(String code, String remedy) {
    this.code = code;
    this.remedy = remedy;
  }

  /** The reason in a word. */
  public String code() {
    return code;
  }

  /** What the administrator can do about it. */
  public String remedy() {
    return remedy;
  }
}
