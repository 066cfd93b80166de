package dev.signet.testcluster;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A Kafka client as an application would write it with Apache Kafka's own library, for tests and demonstrations.
 *
 * <p>The configuration is the client.properties that is mounted into the pod, as it is. Each result is one JSON line on
 * stdout; what the broker refuses becomes one line on stderr and exit code 1.
 */
public final class Client {
    private static final String USAGE =
            "usage: javaclient topics | produce TOPIC MESSAGE... | consume TOPIC [--group G] [--count N] | sleep\n"
                    + "       [--config client.properties (default $KAFKA_CLIENT_CONFIG)] [--bootstrap host:port] [--timeout SECONDS]";

    private final ObjectMapper json = new ObjectMapper();
    private final Map<String, Object> settings;
    private final Duration timeout;

    private Client(Map<String, Object> settings, Duration timeout) {
        this.settings = settings;
        this.timeout = timeout;
    }

    public static void main(String[] args) {
        Map<String, String> flags = new HashMap<>();
        Deque<String> words = new ArrayDeque<>();
        for (int i = 0; i < args.length; i++) {
            if (!args[i].startsWith("--")) {
                words.add(args[i]);
            } else if (List.of("--group", "--count", "--config", "--bootstrap", "--timeout").contains(args[i]) && i + 1 < args.length) {
                flags.put(args[i], args[++i]);
            } else {
                fail(USAGE);
            }
        }
        String command = words.isEmpty() ? "" : words.remove();
        try {
            Duration timeout = Duration.ofSeconds(Long.parseLong(flags.getOrDefault("--timeout", "20")));
            switch (command) {
                case "sleep" -> new CountDownLatch(1).await();
                case "topics" -> new Client(settings(flags, timeout), timeout).topics();
                case "produce" -> new Client(settings(flags, timeout), timeout).produce(words.remove(), List.copyOf(words));
                case "consume" -> new Client(settings(flags, timeout), timeout)
                        .consume(words.remove(), flags.get("--group"), Integer.parseInt(flags.getOrDefault("--count", "1")));
                default -> fail(USAGE);
            }
        } catch (java.util.NoSuchElementException | NumberFormatException e) {
            fail(USAGE);
        } catch (Exception e) {
            fail("javaclient: " + command + ": " + reasons(e));
        }
    }

    /** The mounted file, or with only --bootstrap a plaintext client without an identity. */
    private static Map<String, Object> settings(Map<String, String> flags, Duration timeout) throws IOException {
        Map<String, Object> settings = new HashMap<>();
        String file = flags.getOrDefault("--config", flags.containsKey("--bootstrap") ? null : System.getenv("KAFKA_CLIENT_CONFIG"));
        if (file != null) {
            Properties properties = new Properties();
            try (Reader in = Files.newBufferedReader(Path.of(file))) {
                properties.load(in);
            }
            properties.forEach((key, value) -> settings.put((String) key, value));
        }
        if (flags.containsKey("--bootstrap")) {
            settings.put("bootstrap.servers", flags.get("--bootstrap"));
        }
        if (!settings.containsKey("bootstrap.servers")) {
            throw new IOException("no bootstrap servers: set KAFKA_CLIENT_CONFIG, or give --config or --bootstrap");
        }
        // Kafka's clients retry for a minute or more by default.
        settings.put("default.api.timeout.ms", (int) timeout.toMillis());
        settings.put("request.timeout.ms", (int) timeout.toMillis() / 2);
        settings.put("max.block.ms", timeout.toMillis());
        settings.put("delivery.timeout.ms", (int) timeout.toMillis());
        settings.put("linger.ms", 0);
        return settings;
    }

    private void topics() throws IOException, ExecutionException, InterruptedException {
        try (Admin admin = Admin.create(settings)) {
            for (String topic : new TreeSet<>(admin.listTopics().names().get())) {
                print(Map.of("topic", topic));
            }
        }
    }

    private void produce(String topic, List<String> messages) throws IOException, ExecutionException, InterruptedException {
        if (messages.isEmpty()) {
            throw new IllegalArgumentException("no message to produce");
        }
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String message : messages) {
                RecordMetadata at = producer.send(new ProducerRecord<>(topic, message)).get();
                print(line(topic, at.partition(), at.offset(), message));
            }
        }
    }

    private void consume(String topic, String group, int count) throws IOException, TimeoutException {
        Map<String, Object> own = new HashMap<>(settings);
        own.put("enable.auto.commit", false);
        own.put("auto.offset.reset", "earliest");
        own.put("max.poll.records", count);
        if (group != null) {
            own.put("group.id", group);
        } else {
            own.remove("group.id");
        }
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(own, new StringDeserializer(), new StringDeserializer())) {
            if (group != null) {
                consumer.subscribe(List.of(topic));
            } else {
                List<TopicPartition> partitions = new ArrayList<>();
                for (PartitionInfo partition : consumer.partitionsFor(topic)) {
                    partitions.add(new TopicPartition(topic, partition.partition()));
                }
                consumer.assign(partitions);
                consumer.seekToBeginning(partitions);
            }
            Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
            long deadline = System.nanoTime() + timeout.toNanos();
            for (int printed = 0; printed < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new TimeoutException("topic " + topic + ": " + printed + " of " + count + " messages after " + timeout.toSeconds() + " s");
                }
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
                    if (printed++ < count) {
                        print(line(topic, r.partition(), r.offset(), r.value()));
                        positions.put(new TopicPartition(topic, r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    }
                }
            }
            if (group != null) {
                consumer.commitSync(positions);
            }
        }
    }

    private static Map<String, Object> line(String topic, int partition, long offset, String value) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("topic", topic);
        line.put("partition", partition);
        line.put("offset", offset);
        line.put("value", value);
        return line;
    }

    private void print(Map<String, Object> line) throws IOException {
        System.out.println(json.writeValueAsString(line));
    }

    private static String reasons(Throwable e) {
        StringBuilder text = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            if (!(t instanceof ExecutionException)) {
                text.append(text.isEmpty() ? "" : ": ").append(t.getClass().getSimpleName()).append(": ").append(t.getMessage());
            }
        }
        return text.toString();
    }

    private static void fail(String message) {
        System.err.println(message);
        System.exit(1);
    }
}
