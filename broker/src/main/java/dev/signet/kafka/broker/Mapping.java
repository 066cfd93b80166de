/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * A mapping file in memory: which principal has which subject, SPIFFE ID or pattern. It never
 * changes, does no input or output, and is safe for use by many threads.
 *
 * <p>Exact subjects and SPIFFE IDs take constant time, whatever their number; a subject that is
 * none takes time linear in the number of patterns, each within {@link SubjectPattern#BUDGET}.
 */
public final class Mapping {
  /**
   * Length of a subject or SPIFFE ID, in UTF-16 units; the SPIFFE specification has the same limit.
   */
  static final int MAX_SUBJECT = 2048;

  /** Length of a principal's name, in UTF-16 units. */
  static final int MAX_NAME = 512;

  /** DNS labels (RFC 1123), which names of namespaces are. */
  private static final int MAX_NAMESPACE = 63;

  /** DNS subdomains, which names of service accounts are. */
  private static final int MAX_SERVICE_ACCOUNT = 253;

  private static final Mapping NONE = new Mapping("", 0, "", false, Map.of(), Map.of(), List.of());

  private final String cluster;
  private final long generation;
  private final String workloads;
  private final boolean explicit;
  private final Map<String, String> exact;
  private final Map<String, String> spiffe;
  private final List<SubjectPattern> patterns;

  /** Takes the maps over; the caller keeps no reference to them. */
  Mapping(
      String cluster,
      long generation,
      String meshTrustDomain,
      boolean explicit,
      Map<String, String> exact,
      Map<String, String> spiffe,
      List<SubjectPattern> patterns) {
    this.cluster = cluster;
    this.generation = generation;
    this.workloads = meshTrustDomain.isEmpty() ? null : "spiffe://" + meshTrustDomain + "/ns/";
    this.explicit = explicit;
    this.exact = exact;
    this.spiffe = spiffe;
    this.patterns = patterns;
  }

  /**
   * What is in force before any good file was read: it refuses everybody with {@link
   * Reason#NO_MAPPING}.
   */
  public static Mapping none() {
    return NONE;
  }

  /**
   * Reads mapping.json and its shards.
   *
   * @param text content of mapping.json
   * @param shards content of the shards by file name; what the file does not name is ignored
   */
  public static Mapping parse(byte[] text, Map<String, byte[]> shards) throws FormatException {
    return MappingDocument.parse(text).with(shards);
  }

  /** The KafkaCluster of the file, namespace/name; empty in {@link #none()}. */
  public String cluster() {
    return cluster;
  }

  /** The generation of the file, at least 1; 0 in {@link #none()}. */
  public long generation() {
    return generation;
  }

  /** The number of subjects, SPIFFE IDs and patterns. */
  public int entries() {
    return exact.size() + spiffe.size() + patterns.size();
  }

  /** Decides who a peer is. */
  public Decision decide(Peer peer) {
    return decide(peer, () -> {});
  }

  /**
   * Decides who a peer is.
   *
   * @param exhausted is run when a pattern was given up, see {@link SubjectPattern#BUDGET}. Neither
   *     that pattern nor the ones behind it then name the peer: who can make a pattern give up must
   *     not choose the next one by it.
   */
  Decision decide(Peer peer, Runnable exhausted) {
    if (this == NONE) {
      return new Decision.Refused(Reason.NO_MAPPING);
    }
    List<String> ids = peer.spiffeIds();
    if (ids.size() > 1) {
      return new Decision.Refused(Reason.SEVERAL_SPIFFE_IDS);
    }
    String id = ids.isEmpty() ? null : ids.get(0);
    String byId = id == null ? null : spiffe.get(id);
    String bySubject = principalOf(peer.subject(), exhausted);
    if (byId != null && bySubject != null && !byId.equals(bySubject)) {
      return new Decision.Refused(Reason.DISAGREEMENT);
    }
    if (bySubject != null) {
      return new Decision.Mapped(bySubject);
    }
    if (byId != null) {
      return new Decision.Mapped(byId);
    }
    if (!explicit) {
      return new Decision.Refused(Reason.UNMAPPED);
    }
    String workload = id == null ? null : workload(id);
    return new Decision.Mapped(
        workload != null ? workload : "unmapped:" + sha256(peer.subjectDer()));
  }

  /** The name of the principal that a subject has by itself, or null. */
  public String principalOf(String subject) {
    return principalOf(subject, () -> {});
  }

  private String principalOf(String subject, Runnable exhausted) {
    if (subject.isEmpty()) {
      return null;
    }
    String name = exact.get(subject);
    if (name != null || patterns.isEmpty() || !isMatchable(subject)) {
      return name;
    }
    try {
      for (SubjectPattern pattern : patterns) {
        name = pattern.principal(subject);
        if (name != null) {
          return name;
        }
      }
    } catch (SubjectPattern.ExhaustedException e) {
      exhausted.run();
    }
    return null;
  }

  /**
   * Tells whether a name can be that of a principal: no control character in it and no U+FFFD,
   * which is what is left of text that is none; neither empty nor too long.
   */
  static boolean isName(CharSequence name) {
    return name.length() >= 1
        && name.length() <= MAX_NAME
        && name.chars().noneMatch(c -> c < 0x20 || c == 0x7f || c == 0xfffd);
  }

  /**
   * Tells whether patterns are tried on a subject: not on what is longer than any subject, has
   * control characters or line ends, which no certificate needs and no log shows, or U+FFFD, behind
   * which different subjects read alike.
   */
  private static boolean isMatchable(String subject) {
    return subject.length() <= MAX_SUBJECT
        && subject
            .chars()
            .noneMatch(
                c ->
                    c < 0x20
                        || c >= 0x7f && c <= 0x9f
                        || c == 0x2028
                        || c == 0x2029
                        || c == 0xfffd);
  }

  /**
   * The principal of a SPIFFE ID that Istio gives to a workload of the mesh, or null for any other
   * ID.
   */
  private String workload(String id) {
    if (workloads == null || !id.startsWith(workloads)) {
      return null;
    }
    int end = id.indexOf('/', workloads.length());
    if (end < 0 || !id.startsWith("/sa/", end)) {
      return null;
    }
    String namespace = id.substring(workloads.length(), end);
    String serviceAccount = id.substring(end + "/sa/".length());
    if (!isDnsName(namespace, MAX_NAMESPACE, false)
        || !isDnsName(serviceAccount, MAX_SERVICE_ACCOUNT, true)) {
      return null;
    }
    return "sa:" + namespace + "." + serviceAccount;
  }

  private static boolean isDnsName(String name, int limit, boolean dots) {
    if (name.isEmpty() || name.length() > limit) {
      return false;
    }
    for (int i = 0; i < name.length(); i++) {
      char c = name.charAt(i);
      boolean inside = i > 0 && i < name.length() - 1;
      if (!(c >= 'a' && c <= 'z'
          || c >= '0' && c <= '9'
          || inside && (c == '-' || dots && c == '.'))) {
        return false;
      }
    }
    return true;
  }

  static String sha256(byte[] octets) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(octets));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}
