/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import java.util.Collection;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.server.authorizer.Action;

/**
 * Who did what, as counts: by client for the access log ({@link Cell}), and without the client for
 * metrics ({@link Series}). A decision that was made before costs one look-up and two striped
 * counters; it takes no lock, waits for nothing, and writes nowhere.
 *
 * <p>Both tables are bounded, because clients choose names and client ids. What finds no place in
 * the first is counted as dropped, in the second under {@link #overflow()}.
 */
final class Decisions {
  /** Client ids are cut to this length, in UTF-16 units. */
  static final int MAX_CLIENT_ID = 256;

  /**
   * Names of resources are cut to this length, in UTF-16 units, and end in … then. Names of topics
   * have at most 249; groups and transactional ids may have 32,767.
   */
  static final int MAX_NAME = 512;

  /**
   * Client ids that are told apart in one series; what further ones do is counted as that of {@link
   * #OTHER_CLIENTS}. Some clients make a new id at each start.
   */
  static final int MAX_CLIENTS = 64;

  /** The client id of the clients beyond {@link #MAX_CLIENTS}. */
  static final String OTHER_CLIENTS = "(other)";

  /** The accuracy of when something was last seen, in milliseconds. */
  private static final long LAST_SEEN_MS = 100;

  /** What became of a request. */
  enum Result {
    /** Kafka's rules allow it. */
    ALLOWED("allowed"),
    /** Kafka's rules deny it, and so it was denied. */
    DENIED("denied"),
    /** Kafka's rules deny it, and the mode let it through. */
    TOLERATED("tolerated");

    private final String text;

    Result(String text) {
      this.text = text;
    }

    /** The result of a text, or null. */
    static Result of(String text) {
      for (Result result : values()) {
        if (result.text.equals(text)) {
          return result;
        }
      }
      return null;
    }

    @Override
    public String toString() {
      return text;
    }
  }

  /** An access, by whom, of what, and with which result. */
  record Access(
      KafkaPrincipal principal,
      String clientId,
      ResourceType type,
      String name,
      AclOperation operation,
      Result result) {
    // Written out, because it is computed on every request.
    @Override
    public int hashCode() {
      int hash = 31 * principal.hashCode() + name.hashCode();
      hash = 31 * hash + clientId.hashCode();
      return 31 * hash + (type.ordinal() << 8 ^ operation.ordinal() << 2 ^ result.ordinal());
    }

    @Override
    public boolean equals(Object object) {
      return object instanceof Access other
          && type == other.type
          && operation == other.operation
          && result == other.result
          && name.equals(other.name)
          && clientId.equals(other.clientId)
          && principal.equals(other.principal);
    }

    private Access of(String otherClientId) {
      return new Access(principal, otherClientId, type, name, operation, result);
    }
  }

  /** How often an access happened in this process, and when. */
  static final class Cell {
    private final Access access;
    private final Series series;
    private final LongAdder count = new LongAdder();
    private final long first;
    private volatile long last;

    private Cell(Access access, Series series, long now) {
      this.access = access;
      this.series = series;
      this.first = now;
      this.last = now;
    }

    Access access() {
      return access;
    }

    long count() {
      return count.sum();
    }

    /** When it was first seen, in epoch milliseconds. */
    long first() {
      return first;
    }

    /** When it was last seen, in epoch milliseconds. */
    long last() {
      return last;
    }
  }

  /** How often an access happened in this process, whichever the client. */
  static final class Series {
    private final Access access;
    private final LongAdder count = new LongAdder();
    private final AtomicInteger clients = new AtomicInteger();

    /** When it was last logged that it was tolerated, in epoch milliseconds; 0 if never. */
    private volatile long logged;

    private Series(Access access) {
      this.access = access;
    }

    /** The access, with an empty client id; null in {@link Decisions#overflow()}. */
    Access access() {
      return access;
    }

    long count() {
      return count.sum();
    }

    /** Tells whether a line may be logged now, which is so once in the interval. */
    boolean takesLine(long now, long intervalMs) {
      long before = logged;
      if (before != 0 && now - before < intervalMs) {
        return false;
      }
      logged = now;
      return true;
    }
  }

  private final int maxCells;
  private final int maxSeries;
  private final LongSupplier millis;
  private final ConcurrentHashMap<Access, Cell> cells = new ConcurrentHashMap<>();
  private final ConcurrentHashMap<Access, Series> series = new ConcurrentHashMap<>();
  private final Queue<Series> newSeries = new ConcurrentLinkedQueue<>();
  private final Series overflow = new Series(null);
  private final LongAdder dropped = new LongAdder();
  private final LongAdder notAccess = new LongAdder();

  /**
   * Makes empty tables.
   *
   * @param maxCells bound of the accesses by client
   * @param maxSeries bound of the accesses whichever the client
   * @param millis the clock, in epoch milliseconds
   */
  Decisions(int maxCells, int maxSeries, LongSupplier millis) {
    this.maxCells = maxCells;
    this.maxSeries = maxSeries;
    this.millis = millis;
  }

  /**
   * Tells whether a decision is about an access: not where a client only asks for what it might do,
   * lists topics or groups, of which those that it may not see are left out, or where Kafka tries
   * another permission next ({@link Action#logIfAllowed}, {@link Action#logIfDenied}). What is
   * allowed on the cluster is tried so, and is an access.
   */
  static boolean isAccess(Action action, Result result) {
    return result == Result.ALLOWED
        ? action.logIfAllowed()
            && (action.logIfDenied()
                || action.resourcePattern().resourceType() == ResourceType.CLUSTER)
        : action.logIfDenied();
  }

  /** Counts a decision that is no access. */
  void addNoAccess() {
    notAccess.increment();
  }

  /** An access with its texts cut to what is kept. */
  static Access access(
      KafkaPrincipal principal,
      String clientId,
      ResourceType type,
      String name,
      AclOperation operation,
      Result result) {
    return new Access(
        principal,
        clientId == null ? "" : cut(clientId, MAX_CLIENT_ID),
        type,
        name.length() > MAX_NAME ? cut(name, MAX_NAME - 1) + "…" : name,
        operation,
        result);
  }

  /** Counts an access, and returns its series. */
  Series add(
      KafkaPrincipal principal,
      String clientId,
      ResourceType type,
      String name,
      AclOperation operation,
      Result result) {
    Access access = access(principal, clientId, type, name, operation, result);
    long now = millis.getAsLong();
    Cell cell = cells.get(access);
    if (cell == null) {
      Series its = series(access);
      cell = its == overflow ? null : cell(its, access, now);
      if (cell == null) {
        dropped.increment();
        its.count.increment();
        return its;
      }
    }
    cell.count.increment();
    cell.series.count.increment();
    // Written seldom, because every thread reads it.
    if (now - cell.last >= LAST_SEEN_MS) {
      cell.last = now;
    }
    return cell.series;
  }

  private Series series(Access access) {
    Access key = access.of("");
    Series known = series.get(key);
    if (known == null) {
      synchronized (series) {
        known = series.get(key);
        if (known == null) {
          if (series.size() >= maxSeries) {
            return overflow;
          }
          known = new Series(key);
          series.put(key, known);
          newSeries.add(known);
        }
      }
    }
    return known;
  }

  /** Returns the cell of an access or of its series' other clients; null if the table is full. */
  private Cell cell(Series its, Access access, long now) {
    Access key = its.clients.get() < MAX_CLIENTS ? access : access.of(OTHER_CLIENTS);
    Cell known = cells.get(key);
    if (known == null && cells.mappingCount() < maxCells) {
      synchronized (cells) {
        known = cells.get(key);
        if (known == null && cells.mappingCount() < maxCells) {
          known = new Cell(key, its, now);
          cells.put(key, known);
          its.clients.incrementAndGet();
        }
      }
    }
    return known;
  }

  /** The first characters of a text, without half a surrogate pair. */
  private static String cut(String text, int length) {
    if (text.length() <= length) {
      return text;
    }
    return text.substring(
        0, Character.isHighSurrogate(text.charAt(length - 1)) ? length - 1 : length);
  }

  /** What was counted by client. */
  Collection<Cell> cells() {
    return cells.values();
  }

  /** What was counted of one access, or null. */
  Cell cell(Access access) {
    return cells.get(access);
  }

  /** What was counted whichever the client, without {@link #overflow()}. */
  Collection<Series> series() {
    return series.values();
  }

  /** The series of what found no place among the others. */
  Series overflow() {
    return overflow;
  }

  /** Takes a series that was not taken yet, or null. */
  Series takeNewSeries() {
    return newSeries.poll();
  }

  /** Accesses that are missing in the access log, because the table was full. */
  long dropped() {
    return dropped.sum();
  }

  /** Decisions that were about no access. */
  long notAccess() {
    return notAccess.sum();
  }
}
