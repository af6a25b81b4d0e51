import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints a line for each of Bluetick's statuses as they arrive: a consumer to copy.
 *
 * <p>A real service does its work where this one prints. The work must be safe to repeat: after a
 * crash before the commit, the last batch is read again.
 */
public final class Statuses {
    private static final String USAGE =
            "usage: statuses BOOTSTRAP NAMESPACE --group GROUP [--since 2026-11-22T04:12:05Z]";
    private static final Duration POLL = Duration.ofMillis(500);
    private static final int WINDOW = 100_000;
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final DateTimeFormatter ISO =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSX").withZone(ZoneOffset.UTC);

    private static volatile boolean stopping;

    /** An error that ends the program, in one sentence. */
    private static final class StatusesException extends RuntimeException {
        StatusesException(String sentence) {
            super(sentence);
        }
    }

    private record Arguments(String bootstrap, String topic, String group, Long since) {}

    private record Line(String id, String text) {}

    public static void main(String[] args) {
        CountDownLatch closed = new CountDownLatch(1);
        // On SIGTERM and Ctrl-C: finish and commit the current batch, and leave the group.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                closed.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        String error = null;
        try {
            run(parse(args));
        } catch (StatusesException e) {
            error = e.getMessage();
        } finally {
            closed.countDown();
        }
        if (error != null) {
            System.err.println("statuses: " + error);
            System.exit(1);
        }
    }

    private static void run(Arguments given) {
        Map<String, Object> config = Map.of(
                "bootstrap.servers", given.bootstrap,
                "group.id", given.group,
                "isolation.level", "read_committed", // the default also returns aborted records
                "enable.auto.commit", false, // the default commits at intervals
                "auto.offset.reset", "none", // the default, latest, skips records before the start
                "default.api.timeout.ms", 10_000);
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(config, bytes, bytes)) {
            if (consumer.partitionsFor(given.topic).isEmpty()) {
                throw new StatusesException(
                        "the topic " + given.topic + " does not exist; is the namespace right?");
            }
            consumer.subscribe(List.of(given.topic));
            follow(consumer, given.since);
        } catch (OffsetOutOfRangeException e) {
            throw new StatusesException("the group " + given.group + " is at an offset of the topic "
                    + "that was deleted; move its offsets by hand to accept the gap");
        } catch (KafkaException e) {
            throw new StatusesException(
                    "Kafka at " + given.bootstrap + ": " + e.getMessage() + "; is it running?");
        }
    }

    private static void follow(KafkaConsumer<byte[], byte[]> consumer, Long since) {
        Set<String> window = window(WINDOW);
        while (!stopping) {
            ConsumerRecords<byte[], byte[]> batch;
            try {
                batch = consumer.poll(POLL);
            } catch (NoOffsetForPartitionException e) {
                begin(consumer, e.partitions(), since);
                continue;
            }
            for (var record : batch) {
                Line line = read(record);
                if (window.add(line.id)) {
                    System.out.println(line.text);
                }
            }
            if (!batch.isEmpty()) {
                commit(consumer);
            }
        }
    }

    /**
     * A bounded number of the latest ids.
     *
     * <p>Needed only if processing a record twice does harm. Bluetick publishes each fact once, but
     * a processed record whose commit failed is read again. This window covers one process. To be
     * safe across restarts too, store ce_id with the effect, with a unique index.
     */
    private static Set<String> window(int size) {
        return Collections.newSetFromMap(new LinkedHashMap<>() {
            @Override
            protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                return size() > size;
            }
        });
    }

    /** Set the start position of a group without an offset: a time, or else the start. */
    private static void begin(
            KafkaConsumer<?, ?> consumer, Set<TopicPartition> partitions, Long since) {
        if (since == null) {
            consumer.seekToBeginning(partitions);
            return;
        }
        var ends = consumer.endOffsets(partitions); // first: no gap between the calls
        var times = partitions.stream().collect(Collectors.toMap(p -> p, p -> since));
        consumer.offsetsForTimes(times).forEach((partition, found) ->
                consumer.seek(partition, found != null ? found.offset() : ends.get(partition)));
    }

    private static void commit(KafkaConsumer<?, ?> consumer) {
        try {
            consumer.commitSync();
        } catch (CommitFailedException | RebalanceInProgressException e) {
            System.err.println("the group has removed this member; the batch is read again");
        }
    }

    /**
     * Return the fact's id, and a line: key, status, verdict, time, and live or replay.
     *
     * <p>It reads only the fields that it needs and passes unknown values on: new ones will be
     * added.
     */
    private static Line read(ConsumerRecord<byte[], byte[]> record) {
        try {
            JsonNode status = JSON.readTree(record.value());
            JsonNode time = status.path("occurred_at");
            String text = String.join("\t",
                    status.required("message_key").textValue(),
                    status.required("status").textValue(),
                    status.required("verdict").textValue(),
                    time.isNumber() ? ISO.format(Instant.ofEpochMilli(time.longValue())) : "-",
                    status.hasNonNull("replay") ? "replay" : "live");
            return new Line(new String(record.headers().lastHeader("ce_id").value(), UTF_8), text);
        } catch (IOException | IllegalArgumentException | NullPointerException e) {
            throw new StatusesException(record.topic() + "[" + record.partition() + "] offset "
                    + record.offset() + " is not a status; find out who wrote it");
        }
    }

    private static Arguments parse(String[] args) {
        List<String> positional = new ArrayList<>();
        String group = null;
        Long since = null;
        try {
            for (int i = 0; i < args.length; i++) {
                switch (args[i]) {
                    case "--group" -> group = args[++i];
                    case "--since" -> since = OffsetDateTime.parse(args[++i]).toInstant().toEpochMilli();
                    default -> positional.add(args[i]);
                }
            }
        } catch (ArrayIndexOutOfBoundsException | DateTimeException e) {
            throw new StatusesException(USAGE);
        }
        if (positional.size() != 2 || group == null) {
            throw new StatusesException(USAGE);
        }
        return new Arguments(positional.get(0), positional.get(1) + ".statuses", group, since);
    }
}
