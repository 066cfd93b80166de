/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

/**
 * What a broker tells over JMX about one mapping file, as {@code
 * signet.kafka:type=principal-mapping,file="<path>"}. Alert when {@code LastError} is not empty, or
 * {@code SecondsSinceLastRead} exceeds a minute.
 */
public interface PrincipalMappingMXBean {
  /**
   * Generation of the mapping in force; 0 while none ever was, and every mutual TLS peer is
   * refused.
   */
  long getGeneration();

  /** Seconds since the content in force was read for the first time; -1 while there is none. */
  double getAgeSeconds();

  /** Seconds since the file could last be read, well-formed or not; -1 if never. */
  double getSecondsSinceLastRead();

  /** Subjects, SPIFFE IDs and patterns in force. */
  int getEntries();

  /** How often new content came into force. */
  long getLoads();

  /** How many polls found no file, or one that was refused; the content in force did not change. */
  long getFailures();

  /** Why the last poll failed; empty if the newest content is in force. */
  String getLastError();

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
