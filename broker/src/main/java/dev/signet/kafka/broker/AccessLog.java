/* Copyright The Signet Authors · SPDX-License-Identifier: Apache-2.0 */
package dev.signet.kafka.broker;

import dev.signet.kafka.broker.Decisions.Access;
import dev.signet.kafka.broker.Decisions.Cell;
import dev.signet.kafka.broker.Decisions.Result;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes what a node's clients did to the topic {@link #ACCESS}, and what people did, one by one,
 * to the topic {@link #AUDIT} and the logger {@code signet.audit}. All of it happens in one thread
 * of its own: a request leaves a count in {@link Decisions} or an event in a bounded queue, which
 * drops what it has no room for.
 *
 * <p>A record holds the node's count since the topic exists, so that writing it twice does no harm,
 * and what a killed broker loses is what it counted since it last wrote. The thread reads the
 * node's records once before it writes any, and goes on from there.
 */
final class AccessLog implements AutoCloseable {
  /** The compacted topic of counts. */
  static final String ACCESS = "__signet_access";

  /** The topic of single events. */
  static final String AUDIT = "__signet_audit";

  /** Events that wait for the thread, and events that wait for Kafka. */
  static final int MAX_EVENTS = 10_000;

  /** Records of this node that are read at the start; each takes about half a kilobyte. */
  static final int MAX_EARLIER = 200_000;

  /** How long each step at the start, and what is written at the end, may take. */
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private static final Duration LAST_WORDS = Duration.ofSeconds(2);
  private static final long RETRY_MS = 2000;
  private static final long LOG_INTERVAL_NANOS = TimeUnit.SECONDS.toNanos(60);
  private static final Logger LOG = LoggerFactory.getLogger(AccessLog.class);
  private static final Logger EVENTS = LoggerFactory.getLogger("signet.audit");

  /** The logs of this JVM by node: in combined mode, broker and controller count together. */
  private static final Map<Integer, AccessLog> SHARED = new HashMap<>();

  /**
   * Settings of an access log.
   *
   * @param clients settings of the clients that write and read the topics, bootstrap.servers among
   *     them; empty for no topics
   * @param flushMs how often counts are written, in milliseconds
   * @param partitions of a topic that is made; -1 for the brokers' default
   * @param replicationFactor of a topic that is made; -1 for the brokers' default
   */
  record Config(
      Map<String, Object> clients, long flushMs, int partitions, short replicationFactor) {
    boolean hasTopics() {
      return clients.containsKey("bootstrap.servers");
    }

    /** Names the settings only: among the values are passwords. */
    @Override
    public String toString() {
      return "Config" + clients.keySet();
    }
  }

  private record Event(long time, Access access, String host) {}

  private final int node;
  private final Config config;

  /** Tables are never taken out: without one of them, counts would go down. */
  private final List<Decisions> tables = new CopyOnWriteArrayList<>();

  /** How many have it open. Guarded by {@link #SHARED}. */
  private int users;

  private final ArrayBlockingQueue<Event> events = new ArrayBlockingQueue<>(MAX_EVENTS);
  private final LongAdder droppedEvents = new LongAdder();
  private final LongAdder failures = new LongAdder();
  private final Thread thread;
  private volatile boolean closing;
  private volatile boolean ready;
  private volatile long lastFlush = -1;

  // What follows is of the thread.

  private KafkaProducer<byte[], byte[]> producer;
  private final Map<Access, AccessRecord> earlier = new HashMap<>();
  private final Map<Access, Long> written = new HashMap<>();
  private final Queue<Event> unsent = new ArrayDeque<>();

  /** Guarded by this, as is what follows. */
  private boolean everLogged;

  private long lastLogged;

  /** Records that a client reported as lost, to be written again. */
  private final Set<Access> lost = ConcurrentHashMap.newKeySet();

  private AccessLog(int node, Config config) {
    this.node = node;
    this.config = config;
    this.thread = new Thread(this::run, "signet-access-" + node);
    thread.setDaemon(true);
  }

  /** Opens the log of a node, which every table of it shares, and starts it with the first. */
  static AccessLog open(int node, Config config, Decisions table) {
    synchronized (SHARED) {
      AccessLog log = SHARED.get(node);
      if (log == null) {
        log = new AccessLog(node, config);
        SHARED.put(node, log);
        log.thread.start();
      }
      log.tables.add(table);
      log.users++;
      return log;
    }
  }

  /**
   * Ends the part of one that opened it, and with the last one the log, which then writes what it
   * has if that is quick.
   */
  @Override
  public void close() {
    synchronized (SHARED) {
      users--;
      if (users > 0) {
        return;
      }
      SHARED.remove(node);
    }
    closing = true;
    thread.interrupt();
    try {
      thread.join(LAST_WORDS.multipliedBy(2).toMillis());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Tells whether an access is Kafka's own business or the log's: brokers report to each other and
   * to controllers all the time; and what the log writes, on this node or on another, must not be
   * what it writes about. Reading its topics is an access like any other.
   */
  static boolean isOwn(ResourceType type, String name, AclOperation operation, Result result) {
    return result == Result.ALLOWED
        && (operation == AclOperation.CLUSTER_ACTION
            || type == ResourceType.TOPIC
                && (operation == AclOperation.WRITE || operation == AclOperation.DESCRIBE)
                && (name.equals(ACCESS) || name.equals(AUDIT)));
  }

  /** Takes what a person did, or drops it; it never waits. */
  void event(long time, Access access, String host) {
    if (!events.offer(new Event(time, access, host))) {
      droppedEvents.increment();
    }
  }

  /** Events that were dropped. */
  long droppedEvents() {
    return droppedEvents.sum();
  }

  /** How often writing to the topics failed; counts are written again. */
  long failures() {
    return failures.sum();
  }

  /** Tells whether the node's earlier counts were read, so that counts are written. */
  boolean isReady() {
    return ready;
  }

  /** Seconds since counts were last written, or there were none; -1 if never. */
  double secondsSinceFlush() {
    return lastFlush < 0 ? -1 : (System.currentTimeMillis() - lastFlush) / 1e3;
  }

  private void run() {
    long next = System.nanoTime();
    while (!closing) {
      try {
        takeEvents();
        if (config.hasTopics() && System.nanoTime() - next >= 0) {
          next =
              System.nanoTime()
                  + TimeUnit.MILLISECONDS.toNanos(flush() ? config.flushMs : RETRY_MS);
        }
      } catch (InterruptedException | InterruptException e) {
        // Only close() interrupts, and the loop ends.
        LOG.debug("interrupted", e);
      } catch (RuntimeException | Error e) {
        fail(e); // And go on: a broker without this thread would drop everything.
      }
    }
    end();
  }

  private void end() {
    Thread.interrupted();
    try {
      if (ready) {
        drain();
        send();
        producer.close(LAST_WORDS);
      }
    } catch (RuntimeException e) {
      LOG.info("what was counted since the last time could not be written: {}", e.toString());
    }
    if (producer != null) {
      producer.close(Duration.ZERO);
    }
  }

  /** Logs events, and keeps them for Kafka; it returns after a short while. */
  private void takeEvents() throws InterruptedException {
    Event event = events.poll(Math.min(200, config.flushMs), TimeUnit.MILLISECONDS);
    if (event != null) {
      take(event);
      drain();
    }
  }

  private void drain() {
    for (Event event = events.poll(); event != null; event = events.poll()) {
      take(event);
    }
  }

  private void take(Event event) {
    if (EVENTS.isInfoEnabled()) {
      EVENTS.info(
          new String(
              AccessRecord.event(node, event.time, event.access, event.host),
              StandardCharsets.UTF_8));
    }
    if (!config.hasTopics()) {
      return;
    }
    if (unsent.size() < MAX_EVENTS) {
      unsent.add(event);
    } else {
      droppedEvents.increment();
    }
  }

  /** Writes what changed, and tells whether that went well. */
  private boolean flush() throws InterruptedException {
    try {
      if (!ready) {
        prepare();
        ready = true;
      }
      send();
      producer.flush();
      if (lost.isEmpty()) {
        lastFlush = System.currentTimeMillis();
      }
      return lost.isEmpty();
    } catch (ExecutionException e) {
      fail(e.getCause());
    } catch (InterruptException e) {
      throw e;
    } catch (KafkaException e) {
      fail(e);
    }
    return false;
  }

  /** Counts and logs a failure; the producer's thread calls it too. */
  private synchronized void fail(Throwable e) {
    failures.increment();
    long now = System.nanoTime();
    if (everLogged && now - lastLogged < LOG_INTERVAL_NANOS) {
      return;
    }
    everLogged = true;
    lastLogged = now;
    LOG.error(
        "the access log cannot be written, and goes on counting: {}. Look at signet.access.producer.*",
        e.toString());
  }

  private Map<String, Object> clients(Map<String, Object> more) {
    Map<String, Object> settings = new HashMap<>(config.clients);
    settings.put("client.id", "signet-access-" + node);
    settings.putAll(more);
    return settings;
  }

  /** Makes the topics and the producer, and reads what this node wrote before. */
  private void prepare() throws ExecutionException, InterruptedException {
    String patience = "" + PATIENCE.toMillis();
    Admin admin =
        Admin.create(
            clients(Map.of("default.api.timeout.ms", patience, "request.timeout.ms", "10000")));
    try {
      create(
          admin,
          ACCESS,
          Map.of(TopicConfig.CLEANUP_POLICY_CONFIG, TopicConfig.CLEANUP_POLICY_COMPACT));
      create(admin, AUDIT, Map.of());
    } finally {
      admin.close(Duration.ZERO); // Otherwise it waits for what is under way.
    }
    readEarlier();
    if (producer == null) {
      producer =
          new KafkaProducer<>(
              clients(
                  Map.of(
                      "acks", "all",
                      "linger.ms", "20",
                      "max.block.ms", "5000",
                      "request.timeout.ms", "10000",
                      "delivery.timeout.ms", patience,
                      "compression.type", "lz4")),
              new ByteArraySerializer(),
              new ByteArraySerializer());
    }
  }

  private void create(Admin admin, String name, Map<String, String> settings)
      throws ExecutionException, InterruptedException {
    NewTopic topic =
        new NewTopic(
            name,
            config.partitions < 0 ? Optional.empty() : Optional.of(config.partitions),
            config.replicationFactor < 0
                ? Optional.empty()
                : Optional.of(config.replicationFactor));
    try {
      admin.createTopics(List.of(topic.configs(settings))).all().get();
      LOG.info("made the topic {}", name);
    } catch (ExecutionException e) {
      if (!(e.getCause() instanceof TopicExistsException)) {
        throw e;
      }
    }
  }

  private void readEarlier() {
    earlier.clear();
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(
            clients(
                Map.of(
                    "default.api.timeout.ms",
                    (int) PATIENCE.toMillis(),
                    "isolation.level",
                    "read_uncommitted",
                    "enable.auto.commit",
                    false)),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer())) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer
          .partitionsFor(ACCESS)
          .forEach(one -> partitions.add(new TopicPartition(ACCESS, one.partition())));
      if (partitions.isEmpty()) {
        throw new KafkaException("the topic " + ACCESS + " has no partitions yet");
      }
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      long progress = System.nanoTime();
      while (ends.entrySet().stream()
          .anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
        var records = consumer.poll(Duration.ofMillis(200));
        for (ConsumerRecord<byte[], byte[]> one : records) {
          keep(one);
        }
        if (!records.isEmpty()) {
          progress = System.nanoTime();
        } else if (System.nanoTime() - progress > PATIENCE.toNanos()) {
          throw new KafkaException("the topic " + ACCESS + " cannot be read to its end");
        }
      }
    }
    LOG.info("node {} goes on from {} counts in {}", node, earlier.size(), ACCESS);
  }

  private void keep(ConsumerRecord<byte[], byte[]> one) {
    Access access = one.key() == null ? null : AccessRecord.parseKey(node, one.key());
    if (access == null) {
      return;
    }
    AccessRecord record = AccessRecord.parseValue(one.value());
    if (record == null) {
      earlier.remove(access);
    } else if (earlier.size() < MAX_EARLIER || earlier.containsKey(access)) {
      earlier.put(access, record);
    }
  }

  /** Hands over to the producer what changed since it was written. */
  private void send() {
    lost.forEach(written::remove);
    lost.clear();
    for (Decisions table : tables) {
      for (Cell cell : table.cells()) {
        Access access = cell.access();
        AccessRecord now = counted(access);
        Long before = written.get(access);
        if (now.count() == 0 || before != null && before == now.count()) {
          continue;
        }
        if (!lost.isEmpty()) {
          return; // Each further one would wait as long as the one before.
        }
        AccessRecord from = earlier.get(access);
        AccessRecord total = from == null ? now : from.plus(now);
        written.put(access, now.count());
        producer.send(
            new ProducerRecord<>(ACCESS, AccessRecord.key(node, access), total.value()),
            (metadata, e) -> {
              if (e != null) {
                lost.add(access);
                fail(e);
              }
            });
      }
    }
    long droppedBefore = droppedEvents.sum();
    while (!unsent.isEmpty() && lost.isEmpty() && droppedEvents.sum() == droppedBefore) {
      Event event = unsent.remove();
      producer.send(
          new ProducerRecord<>(
              AUDIT,
              event.access.principal().toString().getBytes(StandardCharsets.UTF_8),
              AccessRecord.event(node, event.time, event.access, event.host)),
          (metadata, e) -> {
            if (e != null) {
              droppedEvents.increment();
              fail(e);
            }
          });
    }
  }

  /** What all tables count of an access. */
  private AccessRecord counted(Access access) {
    AccessRecord sum = null;
    for (Decisions table : tables) {
      Cell cell = table.cell(access);
      if (cell != null) {
        AccessRecord one = new AccessRecord(cell.count(), cell.first(), cell.last());
        sum = sum == null ? one : sum.plus(one);
      }
    }
    return sum;
  }
}
