package bench.peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Reads an observation; writes the state, a status record and an event. */
final class Tracking implements Processor<String, byte[], String, byte[]> {
    private static final ObjectMapper JSON = new ObjectMapper();

    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, byte[]> store;

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
        context = given;
        store = given.getStateStore(Main.STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
        try {
            ObjectNode observation = (ObjectNode) JSON.readTree(record.value());
            byte[] known = store.get(record.key());
            ObjectNode state = known == null ? null : (ObjectNode) JSON.readTree(known);
            Lifecycle.Tracked tracked = Lifecycle.track(state, observation);
            store.put(record.key(), JSON.writeValueAsBytes(tracked.state()));
            if (tracked.status() != null) {
                publish(record, observation, tracked.status(), "status", "statuses");
                publish(record, observation, tracked.event(),
                        tracked.event().get("event").textValue(), "events");
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private void publish(Record<String, byte[]> from, ObjectNode fact, ObjectNode value, String kind,
            String sink) throws IOException {
        String id = from.key() + "#" + kind + "#" + fact.get("status").textValue();
        long time = fact.get("occurred_at").longValue();
        Headers headers = new RecordHeaders();
        add(headers, "ce_specversion", "1.0");
        add(headers, "ce_id", id);
        add(headers, "ce_source", "/peer");
        add(headers, "ce_type", "bluetick.message." + kind);
        add(headers, "ce_time", Instant.ofEpochMilli(time).toString());
        add(headers, "ce_subject", from.key());
        add(headers, "content-type", "application/json");
        byte[] bytes = JSON.writeValueAsBytes(value);
        context.forward(new Record<>(from.key(), bytes, from.timestamp(), headers), sink);
    }

    private static void add(Headers headers, String name, String value) {
        headers.add(name, value.getBytes(StandardCharsets.UTF_8));
    }
}
