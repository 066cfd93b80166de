/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * What a broker tells over JMX about one mapping file, as {@code
 * signet.kafka:type=principal-mapping,file="<path>"}. While {@code Generation} is 0, every mutual
 * TLS peer is refused.
 */
public interface PrincipalMappingMXBean extends PolledFileMXBean {
  /** Subjects, SPIFFE IDs and patterns in force. */
  int getEntries();

  /** Peers with more than one SPIFFE ID. */
  long getRefusalsSeveralSpiffeIds();

  /** Peers whose subject and SPIFFE ID are different principals. */
  long getRefusalsDisagreement();

  /** Peers that no entry knows. */
  long getRefusalsUnmapped();

  /** Peers whose subject is no X.501 name. */
  long getRefusalsMalformedSubject();

  /** Peers whose subject alternative names cannot be read. */
  long getRefusalsMalformedSan();

  /** Peers that came while no good mapping had been read. */
  long getRefusalsNoMapping();

  /**
   * How often a pattern was given up because it took too many steps; the peer was treated as not
   * matched.
   */
  long getExhaustedPatterns();
}
