package bench.peers;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.Stores;

/** The peer Kafka Streams: exactly once, a RocksDB store with a cache, its changelog. */
public final class Main {
    static final String STORE = "messages";
    private static final long CACHE_BYTES = 128L << 20;
    private static final int BATCH_BYTES = 256 << 10;

    private Main() {}

    public static void main(String[] arguments) throws InterruptedException {
        KafkaStreams streams = new KafkaStreams(topology(), settings());
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    private static Topology topology() {
        var bytes = Serdes.ByteArray();
        var text = Serdes.String();
        Topology topology = new Topology();
        topology.addSource("observations", text.deserializer(), bytes.deserializer(), env("INPUT"));
        topology.addProcessor("track", Tracking::new, "observations");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), text, bytes)
                        .withCachingEnabled(),
                "track");
        topology.addSink("statuses", env("STATUS"), text.serializer(), bytes.serializer(), "track");
        topology.addSink("events", env("EVENT"), text.serializer(), bytes.serializer(), "track");
        return topology;
    }

    private static Properties settings() {
        Properties set = new Properties();
        set.put(StreamsConfig.APPLICATION_ID_CONFIG, env("GROUP"));
        set.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env("KAFKA"));
        set.put(StreamsConfig.STATE_DIR_CONFIG, env("DATA"));
        set.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        set.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, env("THREADS"));
        set.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
        set.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        set.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "zstd");
        set.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), BATCH_BYTES);
        set.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        return set;
    }

    private static String env(String name) {
        return System.getenv(name);
    }
}
