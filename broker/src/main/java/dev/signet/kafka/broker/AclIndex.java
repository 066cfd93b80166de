/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiPredicate;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.metadata.authorizer.StandardAcl;

/**
 * All ACLs of a cluster, by principal, resource type, and literal name or prefix; an immutable
 * value, of which {@link #with} and {@link #without} make changed copies that share what did not
 * change. It answers as Kafka 4.3's {@code StandardAuthorizerData} does, which scans the ACLs of
 * all principals on a resource, at a cost that depends on the ACLs of the caller and of {@code
 * User:*}, and on the length of the name, only:
 *
 * <ul>
 *   <li>A matching DENY wins over any ALLOW. ALLOW of READ, WRITE, DELETE or ALTER implies
 *       DESCRIBE, of ALTER_CONFIGS implies DESCRIBE_CONFIGS; DENY implies nothing.
 *   <li>The literal name {@code *} stands for every name but longer ones that begin with {@code *}
 *       (which Kafka leaves out, by the way in which it scans); the prefix {@code *} is a prefix.
 *   <li>Principals are compared by type and name, with the first colon of the ACL's text between
 *       them.
 * </ul>
 *
 * Names that begin with a character before {@code *}, such as {@code #}, are the exception: Kafka
 * 4.3 loops for ever or throws where another ACL begins with the same character, this does not.
 */
final class AclIndex {
  private static final String WILDCARD = "*";
  private static final KafkaPrincipal EVERYONE_PRINCIPAL =
      new KafkaPrincipal(KafkaPrincipal.USER_TYPE, WILDCARD);
  private static final int TYPES = ResourceType.values().length;

  /** For each operation, the bits of the operations of which an ALLOW grants it. */
  private static final int[] GRANTED_BY = new int[AclOperation.values().length];

  static {
    for (AclOperation operation : AclOperation.values()) {
      GRANTED_BY[operation.ordinal()] = named(operation);
    }
    GRANTED_BY[AclOperation.DESCRIBE.ordinal()] |=
        bit(AclOperation.READ)
            | bit(AclOperation.WRITE)
            | bit(AclOperation.DELETE)
            | bit(AclOperation.ALTER);
    GRANTED_BY[AclOperation.DESCRIBE_CONFIGS.ordinal()] |= bit(AclOperation.ALTER_CONFIGS);
  }

  /** The principals that have ACLs, each with its patterns by the ordinal of the resource type. */
  private final PersistentMap<KafkaPrincipal, Patterns<Grants>[]> principals;

  /** What {@code User:*} has in {@link #principals}; null if nothing. */
  private final Patterns<Grants>[] everyone;

  /** How many ACLs each pattern has, by resource type; null where nobody will ask. */
  private final Patterns<Integer>[] covers;

  private AclIndex(
      PersistentMap<KafkaPrincipal, Patterns<Grants>[]> principals, Patterns<Integer>[] covers) {
    this.principals = principals;
    this.everyone = PersistentMap.get(principals, EVERYONE_PRINCIPAL);
    this.covers = covers;
  }

  /**
   * An index of no ACLs.
   *
   * @param covering whether {@link #covers} will be asked, for which more is kept
   */
  static AclIndex empty(boolean covering) {
    return new AclIndex(null, covering ? noPatterns() : null);
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private static <V> Patterns<V>[] noPatterns() {
    return (Patterns<V>[]) new Patterns[TYPES];
  }

  private static int bit(AclOperation operation) {
    return 1 << operation.ordinal();
  }

  /** The bits of an operation and of ALL. */
  private static int named(AclOperation operation) {
    return bit(operation) | bit(AclOperation.ALL);
  }

  /** A copy with an ACL more. The ACL must not be there yet. */
  AclIndex with(StandardAcl acl) {
    return changed(acl, true);
  }

  /** A copy without an ACL, which must be there. */
  AclIndex without(StandardAcl acl) {
    return changed(acl, false);
  }

  /** A copy with these ACLs in place of all others, made faster than one by one. */
  AclIndex load(Collection<StandardAcl> acls) {
    Map<String, Patterns<Grants>[]> all = new HashMap<>();
    Patterns<Integer>[] newCovers = covers == null ? null : noPatterns();
    for (StandardAcl acl : acls) {
      Patterns<Grants>[] its = all.computeIfAbsent(acl.principal(), text -> noPatterns());
      int type = acl.resourceType().ordinal();
      its[type] = granted(its[type], acl, true);
      if (newCovers != null) {
        newCovers[type] = counted(newCovers[type], acl, 1);
      }
    }
    PersistentMap<KafkaPrincipal, Patterns<Grants>[]> loaded = null;
    for (Map.Entry<String, Patterns<Grants>[]> its : all.entrySet()) {
      KafkaPrincipal principal = principal(its.getKey());
      if (principal != null) {
        loaded = PersistentMap.with(loaded, principal, its.getValue());
      }
    }
    return new AclIndex(loaded, newCovers);
  }

  private static Patterns<Grants> granted(Patterns<Grants> before, StandardAcl acl, boolean added) {
    return Patterns.changed(before, acl, Grants.changed(Patterns.get(before, acl), acl, added));
  }

  private static Patterns<Integer> counted(Patterns<Integer> before, StandardAcl acl, int more) {
    Integer count = Patterns.get(before, acl);
    int sum = (count == null ? 0 : count) + more;
    return Patterns.changed(before, acl, sum == 0 ? null : sum);
  }

  private AclIndex changed(StandardAcl acl, boolean added) {
    int type = acl.resourceType().ordinal();
    Patterns<Integer>[] newCovers = covers;
    if (covers != null) {
      newCovers = covers.clone();
      newCovers[type] = counted(covers[type], acl, added ? 1 : -1);
    }
    KafkaPrincipal principal = principal(acl.principal());
    if (principal == null) {
      return new AclIndex(principals, newCovers);
    }
    Patterns<Grants>[] before = PersistentMap.get(principals, principal);
    Patterns<Grants>[] after = before == null ? noPatterns() : before.clone();
    after[type] = granted(after[type], acl, added);
    boolean isEmpty = true;
    for (Patterns<Grants> patterns : after) {
      isEmpty &= patterns == null;
    }
    return new AclIndex(
        isEmpty
            ? PersistentMap.without(principals, principal)
            : PersistentMap.with(principals, principal, after),
        newCovers);
  }

  /** The principal of an ACL's text; null if it has no colon, so that it is nobody's. */
  private static KafkaPrincipal principal(String text) {
    int colon = text.indexOf(':');
    return colon < 0
        ? null
        : new KafkaPrincipal(text.substring(0, colon), text.substring(colon + 1));
  }

  /**
   * Decides like {@code StandardAuthorizer.authorize} for who is no super user.
   *
   * @param principal of exactly the class KafkaPrincipal
   * @param host of the client; its text is made only if an ACL names a host
   * @param otherwise the answer for a resource that no ACL of anybody covers, {@code
   *     allow.everyone.if.no.acl.found}
   */
  boolean allows(
      KafkaPrincipal principal,
      InetAddress host,
      ResourceType type,
      String name,
      AclOperation operation,
      boolean otherwise) {
    Patterns<Grants>[] own = PersistentMap.get(principals, principal);
    long found = 0;
    if (own != null && own[type.ordinal()] != null) {
      found = matching(own[type.ordinal()], name, host);
    }
    if (everyone != null && everyone[type.ordinal()] != null) {
      found |= matching(everyone[type.ordinal()], name, host);
    }
    if ((denied(found) & named(operation)) != 0) {
      return false;
    }
    if ((allowed(found) & GRANTED_BY[operation.ordinal()]) != 0) {
      return true;
    }
    return otherwise && !covers(type, name);
  }

  private boolean covers(ResourceType type, String name) {
    Patterns<Integer> patterns = covers[type.ordinal()];
    return patterns != null && patterns.any(name, (pattern, count) -> true);
  }

  /** The grants of all patterns that match a name. */
  private static long matching(Patterns<Grants> patterns, String name, InetAddress host) {
    long found = 0;
    Grants literal = PersistentMap.get(patterns.literals, name);
    if (literal != null) {
      found = literal.at(host);
    }
    if (patterns.wildcard != null && wildcardMatches(name)) {
      found |= patterns.wildcard.at(host);
    }
    int hash = 0;
    int hashed = 0;
    for (int length : patterns.lengths) {
      if (length > name.length()) {
        break;
      }
      while (hashed < length) {
        hash = 31 * hash + name.charAt(hashed++);
      }
      Grants grants = PersistentMap.getPrefix(patterns.prefixes, name, length, hash);
      if (grants != null) {
        found |= grants.at(host);
      }
    }
    return found;
  }

  private static boolean wildcardMatches(String name) {
    return name.length() < 2 || name.charAt(0) != '*';
  }

  /**
   * Tells whether a caller may do something to at least one resource of a type, like the second
   * half of {@code Authorizer.authorizeByResourceType}, which implies no operations by others. The
   * first half is the answer for a resource named {@code hardcode}.
   */
  boolean allowsAny(
      KafkaPrincipal principal, InetAddress host, ResourceType type, AclOperation operation) {
    List<Patterns<Grants>> both = new ArrayList<>(2);
    for (KafkaPrincipal one : List.of(principal, EVERYONE_PRINCIPAL)) {
      Patterns<Grants>[] all = PersistentMap.get(principals, one);
      if (all != null && all[type.ordinal()] != null) {
        both.add(all[type.ordinal()]);
      }
    }
    int bits = named(operation);
    long wildcard = 0;
    for (Patterns<Grants> patterns : both) {
      wildcard |= patterns.wildcard == null ? 0 : patterns.wildcard.at(host);
    }
    if ((denied(wildcard) & bits) != 0) {
      return false;
    }
    if ((allowed(wildcard) & bits) != 0) {
      return true;
    }
    for (Patterns<Grants> patterns : both) {
      BiPredicate<String, Grants> literal =
          (name, grants) ->
              (allowed(grants.at(host)) & bits) != 0
                  && both.stream().noneMatch(other -> dominates(other, name, true, host, bits));
      BiPredicate<String, Grants> prefix =
          (name, grants) ->
              (allowed(grants.at(host)) & bits) != 0
                  && both.stream().noneMatch(other -> dominates(other, name, false, host, bits));
      if (PersistentMap.any(patterns.literals, literal)
          || PersistentMap.any(patterns.prefixes, prefix)) {
        return true;
      }
    }
    return false;
  }

  /** Tells whether a DENY takes everything away that an ALLOW gives. */
  private static boolean dominates(
      Patterns<Grants> patterns, String name, boolean isLiteral, InetAddress host, int bits) {
    if (isLiteral) {
      Grants literal = PersistentMap.get(patterns.literals, name);
      if (literal != null && (denied(literal.at(host)) & bits) != 0) {
        return true;
      }
    }
    int hash = 0;
    int hashed = 0;
    for (int length : patterns.lengths) {
      if (length > name.length()) {
        break;
      }
      while (hashed < length) {
        hash = 31 * hash + name.charAt(hashed++);
      }
      Grants grants = PersistentMap.getPrefix(patterns.prefixes, name, length, hash);
      if (grants != null && length > 0 && (denied(grants.at(host)) & bits) != 0) {
        return true;
      }
    }
    return false;
  }

  /**
   * Finds the ACL by which Kafka decides: the first DENY, or else the last ALLOW, in the order of
   * {@link StandardAcl#compareTo}. It is for the log, and takes longer than deciding.
   *
   * @return null if none matches
   */
  StandardAcl deciding(
      KafkaPrincipal principal,
      InetAddress host,
      ResourceType type,
      String name,
      AclOperation operation) {
    List<StandardAcl> denies = new ArrayList<>();
    List<StandardAcl> allows = new ArrayList<>();
    for (KafkaPrincipal one : List.of(principal, EVERYONE_PRINCIPAL)) {
      Patterns<Grants>[] all = PersistentMap.get(principals, one);
      if (all == null || all[type.ordinal()] == null) {
        continue;
      }
      all[type.ordinal()].any(
          name,
          (pattern, grants) -> {
            grants.collect(
                type, pattern, one, host, named(operation), AclPermissionType.DENY, denies);
            grants.collect(
                type,
                pattern,
                one,
                host,
                GRANTED_BY[operation.ordinal()],
                AclPermissionType.ALLOW,
                allows);
            return false;
          });
    }
    return denies.stream()
        .min(Comparator.naturalOrder())
        .orElseGet(() -> allows.stream().max(Comparator.naturalOrder()).orElse(null));
  }

  /** Tells whether a resource would be allowed for the reason that no ACL covers it. */
  boolean isUncovered(ResourceType type, String name) {
    return covers != null && !covers(type, name);
  }

  /** Operations that an answer of {@link Grants#at} allows, as bits by their ordinal. */
  private static int allowed(long grants) {
    return (int) grants;
  }

  /** Operations that an answer of {@link Grants#at} denies, as bits by their ordinal. */
  private static int denied(long grants) {
    return (int) (grants >>> 32);
  }

  /**
   * A pattern.
   *
   * @param isPrefix false for a literal name
   */
  private record Pattern(String name, boolean isPrefix) {}

  /**
   * Values by pattern, for one resource type.
   *
   * @param literals by literal name, without {@code *}
   * @param wildcard of the literal name {@code *}, or null
   * @param prefixes by prefix
   * @param lengths of the prefixes, ascending and each once
   * @param counts how many prefixes have each length
   */
  private record Patterns<V>(
      PersistentMap<String, V> literals,
      V wildcard,
      PersistentMap<String, V> prefixes,
      int[] lengths,
      int[] counts) {
    private static final int[] NO_LENGTHS = {};

    /** What the pattern of an ACL has, or null. Patterns may be null, which are none. */
    private static <V> V get(Patterns<V> patterns, StandardAcl acl) {
      if (patterns == null) {
        return null;
      }
      if (isPrefix(acl)) {
        return PersistentMap.get(patterns.prefixes, acl.resourceName());
      }
      return acl.resourceName().equals(WILDCARD)
          ? patterns.wildcard
          : PersistentMap.get(patterns.literals, acl.resourceName());
    }

    private static boolean isPrefix(StandardAcl acl) {
      return acl.patternType() != PatternType.LITERAL;
    }

    /** A copy in which the pattern of an ACL has another value, null for none. */
    private static <V> Patterns<V> changed(Patterns<V> before, StandardAcl acl, V value) {
      Patterns<V> from =
          before == null ? new Patterns<>(null, null, null, NO_LENGTHS, NO_LENGTHS) : before;
      String name = acl.resourceName();
      Patterns<V> after;
      if (isPrefix(acl)) {
        PersistentMap<String, V> prefixes =
            value == null
                ? PersistentMap.without(from.prefixes, name)
                : PersistentMap.with(from.prefixes, name, value);
        int more =
            (value == null ? 0 : 1) - (PersistentMap.get(from.prefixes, name) == null ? 0 : 1);
        after = from.withPrefixes(prefixes, name.length(), more);
      } else if (name.equals(WILDCARD)) {
        after = new Patterns<>(from.literals, value, from.prefixes, from.lengths, from.counts);
      } else {
        after =
            new Patterns<>(
                value == null
                    ? PersistentMap.without(from.literals, name)
                    : PersistentMap.with(from.literals, name, value),
                from.wildcard,
                from.prefixes,
                from.lengths,
                from.counts);
      }
      return after.literals == null && after.wildcard == null && after.prefixes == null
          ? null
          : after;
    }

    private Patterns<V> withPrefixes(PersistentMap<String, V> newPrefixes, int length, int more) {
      int at = Arrays.binarySearch(lengths, length);
      int[] newLengths = lengths;
      int[] newCounts = counts;
      if (at < 0) {
        at = -at - 1;
        newLengths = inserted(lengths, at, length);
        newCounts = inserted(counts, at, more);
      } else if (counts[at] + more == 0) {
        newLengths = removed(lengths, at);
        newCounts = removed(counts, at);
      } else if (more != 0) {
        newCounts = counts.clone();
        newCounts[at] += more;
      }
      return new Patterns<>(literals, wildcard, newPrefixes, newLengths, newCounts);
    }

    private static int[] inserted(int[] values, int at, int value) {
      int[] more = new int[values.length + 1];
      System.arraycopy(values, 0, more, 0, at);
      more[at] = value;
      System.arraycopy(values, at, more, at + 1, values.length - at);
      return more;
    }

    private static int[] removed(int[] values, int at) {
      int[] fewer = new int[values.length - 1];
      System.arraycopy(values, 0, fewer, 0, at);
      System.arraycopy(values, at + 1, fewer, at, fewer.length - at);
      return fewer;
    }

    /**
     * Tells whether something holds of a pattern that matches a name; it is asked until it does.
     */
    private boolean any(String name, BiPredicate<Pattern, V> test) {
      V literal = PersistentMap.get(literals, name);
      if (literal != null && test.test(new Pattern(name, false), literal)
          || wildcard != null
              && wildcardMatches(name)
              && test.test(new Pattern(WILDCARD, false), wildcard)) {
        return true;
      }
      for (int length : lengths) {
        if (length > name.length()) {
          break;
        }
        String prefix = name.substring(0, length);
        V value = PersistentMap.get(prefixes, prefix);
        if (value != null && test.test(new Pattern(prefix, true), value)) {
          return true;
        }
      }
      return false;
    }
  }

  /**
   * What one principal is allowed and denied by one pattern.
   *
   * @param everywhere bits of the operations for all hosts: allowed in the low half, denied in the
   *     high half
   * @param hosts the same for single hosts; null if there are none
   */
  private record Grants(long everywhere, PersistentMap<String, Long> hosts) {
    /** The bits that hold for a host. */
    private long at(InetAddress host) {
      if (hosts == null) {
        return everywhere;
      }
      Long more = PersistentMap.get(hosts, host.getHostAddress());
      return more == null ? everywhere : everywhere | more;
    }

    /** A copy with the bit of an ACL set or cleared; null if none is left. */
    private static Grants changed(Grants before, StandardAcl acl, boolean added) {
      Grants from = before == null ? new Grants(0, null) : before;
      long bit = bit(acl.operation());
      if (acl.permissionType() != AclPermissionType.ALLOW) {
        bit <<= 32;
      }
      Grants after;
      if (acl.host().equals(WILDCARD)) {
        after = new Grants(added ? from.everywhere | bit : from.everywhere & ~bit, from.hosts);
      } else {
        Long there = PersistentMap.get(from.hosts, acl.host());
        long bits = there == null ? 0 : there;
        bits = added ? bits | bit : bits & ~bit;
        after =
            new Grants(
                from.everywhere,
                bits == 0
                    ? PersistentMap.without(from.hosts, acl.host())
                    : PersistentMap.with(from.hosts, acl.host(), bits));
      }
      return after.everywhere == 0 && after.hosts == null ? null : after;
    }

    /** Adds the ACLs that match, of the operations in bits. */
    private void collect(
        ResourceType type,
        Pattern pattern,
        KafkaPrincipal principal,
        InetAddress host,
        int bits,
        AclPermissionType permission,
        List<StandardAcl> into) {
      collect(type, pattern, principal, WILDCARD, everywhere, bits, permission, into);
      Long here = PersistentMap.get(hosts, host.getHostAddress());
      if (here != null) {
        collect(type, pattern, principal, host.getHostAddress(), here, bits, permission, into);
      }
    }

    private static void collect(
        ResourceType type,
        Pattern pattern,
        KafkaPrincipal principal,
        String host,
        long grants,
        int bits,
        AclPermissionType permission,
        List<StandardAcl> into) {
      int found = bits & (permission == AclPermissionType.ALLOW ? allowed(grants) : denied(grants));
      for (AclOperation operation : AclOperation.values()) {
        if ((found & bit(operation)) != 0) {
          into.add(
              new StandardAcl(
                  type,
                  pattern.name,
                  pattern.isPrefix ? PatternType.PREFIXED : PatternType.LITERAL,
                  principal.toString(),
                  host,
                  operation,
                  permission));
        }
      }
    }
  }
}
