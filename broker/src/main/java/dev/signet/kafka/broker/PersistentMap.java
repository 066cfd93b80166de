/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.Arrays;
import java.util.function.BiPredicate;

/**
 * An immutable map of which a changed copy shares all but one path: a hash array mapped trie
 * (Bagwell, Ideal Hash Trees, 2001). Look-up, and a copy with one entry more or less, take
 * logarithmic time to the base 32; an empty map is null, a map of one entry is that entry.
 *
 * <p>Kafka's own persistent maps (pcollections) are binary trees of hashes, and cannot look up a
 * prefix of a string without making a string of it.
 */
final class PersistentMap<K, V> {
  private static final int BITS = 5;

  /** An {@link Entry}, {@link Collision} or {@link Node}; never null. */
  private final Object root;

  private record Entry(Object key, Object value) {}

  /** Two or more entries whose keys have one hash. */
  private record Collision(int hash, Entry[] entries) {}

  /** The children that exist, in the order of the bits of their five bits of the hash. */
  private record Node(int bitmap, Object[] children) {}

  private PersistentMap(Object root) {
    this.root = root;
  }

  /** Looks up a key. A map may be null, which is empty. */
  @SuppressWarnings("unchecked")
  static <K, V> V get(PersistentMap<K, V> map, K key) {
    if (map == null) {
      return null;
    }
    int hash = spread(key.hashCode());
    Object found = map.find(hash);
    if (found instanceof Entry entry) {
      return entry.key.equals(key) ? (V) entry.value : null;
    }
    if (found instanceof Collision collision) {
      for (Entry entry : collision.entries) {
        if (entry.key.equals(key)) {
          return (V) entry.value;
        }
      }
    }
    return null;
  }

  /**
   * Looks up the first characters of a text.
   *
   * @param hash what {@link String#hashCode()} is of them
   */
  @SuppressWarnings("unchecked")
  static <V> V getPrefix(PersistentMap<String, V> map, String text, int length, int hash) {
    if (map == null) {
      return null;
    }
    Object found = map.find(spread(hash));
    if (found instanceof Entry entry) {
      return isPrefix(entry, text, length) ? (V) entry.value : null;
    }
    if (found instanceof Collision collision) {
      for (Entry entry : collision.entries) {
        if (isPrefix(entry, text, length)) {
          return (V) entry.value;
        }
      }
    }
    return null;
  }

  private static boolean isPrefix(Entry entry, String text, int length) {
    String key = (String) entry.key;
    return key.length() == length && text.startsWith(key);
  }

  /** Returns the entry or the collision on the path of a hash, or null. */
  private Object find(int hash) {
    Object at = root;
    for (int shift = 0; at instanceof Node node; shift += BITS) {
      int bit = bit(hash, shift);
      if ((node.bitmap & bit) == 0) {
        return null;
      }
      at = node.children[Integer.bitCount(node.bitmap & (bit - 1))];
    }
    return at;
  }

  /** A copy with a key's value added or replaced. */
  static <K, V> PersistentMap<K, V> with(PersistentMap<K, V> map, K key, V value) {
    Entry entry = new Entry(key, value);
    return new PersistentMap<>(
        map == null ? entry : with(map.root, spread(key.hashCode()), 0, entry));
  }

  private static Object with(Object at, int hash, int shift, Entry entry) {
    if (at instanceof Node node) {
      int bit = bit(hash, shift);
      int index = Integer.bitCount(node.bitmap & (bit - 1));
      if ((node.bitmap & bit) == 0) {
        Object[] children = new Object[node.children.length + 1];
        System.arraycopy(node.children, 0, children, 0, index);
        children[index] = entry;
        System.arraycopy(node.children, index, children, index + 1, node.children.length - index);
        return new Node(node.bitmap | bit, children);
      }
      Object[] children = node.children.clone();
      children[index] = with(children[index], hash, shift + BITS, entry);
      return new Node(node.bitmap, children);
    }
    if (at instanceof Collision collision) {
      if (collision.hash != hash) {
        return split(at, collision.hash, entry, hash, shift);
      }
      int index = indexOf(collision, entry.key);
      Entry[] entries =
          Arrays.copyOf(collision.entries, Math.max(index + 1, collision.entries.length));
      entries[index] = entry;
      return new Collision(hash, entries);
    }
    Entry other = (Entry) at;
    if (other.key.equals(entry.key)) {
      return entry;
    }
    int otherHash = spread(other.key.hashCode());
    return otherHash == hash
        ? new Collision(hash, new Entry[] {other, entry})
        : split(other, otherHash, entry, hash, shift);
  }

  /** Makes nodes until two different hashes part. */
  private static Object split(Object a, int hashA, Object b, int hashB, int shift) {
    int bitA = bit(hashA, shift);
    int bitB = bit(hashB, shift);
    if (bitA == bitB) {
      return new Node(bitA, new Object[] {split(a, hashA, b, hashB, shift + BITS)});
    }
    // As unsigned numbers: bit 31 is the last.
    boolean first = Integer.compareUnsigned(bitA, bitB) < 0;
    return new Node(bitA | bitB, first ? new Object[] {a, b} : new Object[] {b, a});
  }

  /** A copy without a key, or null if nothing is left. The key may be absent. */
  static <K, V> PersistentMap<K, V> without(PersistentMap<K, V> map, K key) {
    if (map == null) {
      return null;
    }
    Object root = without(map.root, spread(key.hashCode()), 0, key);
    return root == map.root ? map : root == null ? null : new PersistentMap<>(root);
  }

  private static Object without(Object at, int hash, int shift, Object key) {
    if (at instanceof Node node) {
      int bit = bit(hash, shift);
      if ((node.bitmap & bit) == 0) {
        return at;
      }
      int index = Integer.bitCount(node.bitmap & (bit - 1));
      Object before = node.children[index];
      Object after = without(before, hash, shift + BITS, key);
      if (after == before) {
        return at;
      }
      if (after != null) {
        if (node.children.length == 1 && !(after instanceof Node)) {
          return after;
        }
        Object[] children = node.children.clone();
        children[index] = after;
        return new Node(node.bitmap, children);
      }
      if (node.children.length == 1) {
        return null;
      }
      if (node.children.length == 2 && !(node.children[1 - index] instanceof Node)) {
        return node.children[1 - index];
      }
      Object[] children = new Object[node.children.length - 1];
      System.arraycopy(node.children, 0, children, 0, index);
      System.arraycopy(node.children, index + 1, children, index, children.length - index);
      return new Node(node.bitmap & ~bit, children);
    }
    if (at instanceof Collision collision) {
      int index = indexOf(collision, key);
      if (collision.hash != hash || index == collision.entries.length) {
        return at;
      }
      if (collision.entries.length == 2) {
        return collision.entries[1 - index];
      }
      Entry[] entries = new Entry[collision.entries.length - 1];
      System.arraycopy(collision.entries, 0, entries, 0, index);
      System.arraycopy(collision.entries, index + 1, entries, index, entries.length - index);
      return new Collision(hash, entries);
    }
    return ((Entry) at).key.equals(key) ? null : at;
  }

  /** Returns where a key is among the entries, or their number. */
  private static int indexOf(Collision collision, Object key) {
    int index = 0;
    while (index < collision.entries.length && !collision.entries[index].key.equals(key)) {
      index++;
    }
    return index;
  }

  /** Tells whether there is an entry of which something holds; it is asked until there is. */
  static <K, V> boolean any(PersistentMap<K, V> map, BiPredicate<? super K, ? super V> test) {
    return map != null && any(map.root, test);
  }

  @SuppressWarnings("unchecked")
  private static <K, V> boolean any(Object at, BiPredicate<? super K, ? super V> test) {
    if (at instanceof Entry entry) {
      return test.test((K) entry.key, (V) entry.value);
    }
    for (Object child : at instanceof Node node ? node.children : ((Collision) at).entries) {
      if (any(child, test)) {
        return true;
      }
    }
    return false;
  }

  private static int bit(int hash, int shift) {
    return 1 << (hash >>> shift);
  }

  /** Mixes the high bits in; no two hashes become one. */
  private static int spread(int hash) {
    return hash ^ hash >>> 16;
  }
}
