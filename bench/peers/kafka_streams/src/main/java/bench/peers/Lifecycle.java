package bench.peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;

/** The simple lifecycle, as bench/peers/lifecycle.py has it. */
final class Lifecycle {
    private static final Map<String, Integer> RANK =
            Map.of("sending", 0, "sent", 1, "delivered", 2, "read", 3);
    private static final List<String> FACT =
            List.of("status", "provider_status", "received_at", "occurred_at", "raw");
    private static final List<String> MESSAGE =
            List.of("message_key", "provider", "account", "message_id", "direction", "recipient");
    private static final List<String> EVENT =
            List.of("message_key", "provider", "account", "message_id", "channel", "gateway",
                    "direction", "recipient", "raw");
    private static final List<String> CAUSE =
            List.of("received_at", "occurred_at", "status", "provider_status", "gateway");

    private Lifecycle() {}

    /** A state after an observation; both outputs are null if the fact is known. */
    record Tracked(ObjectNode state, ObjectNode status, ObjectNode event) {}

    static Tracked track(ObjectNode known, ObjectNode seen) {
        ObjectNode state = known == null ? first(seen) : known;
        String name = text(seen, "status");
        String before = state.has("status") ? text(state, "status") : null;
        ObjectNode attempt = attempt(state, seen);
        ObjectNode facts = (ObjectNode) attempt.get("facts");
        ObjectNode fact = copy(seen, FACT);
        JsonNode earlier = facts.get(name);
        if (earlier != null) {
            if (isOlder(fact, earlier)) {
                facts.set(name, fact);
            }
            return new Tracked(state, null, null);
        }
        facts.set(name, fact);
        long at = seen.get("received_at").longValue();
        state.put("updated_at", Math.max(at, state.get("updated_at").longValue()));
        state.put("first_seen_at", Math.min(at, state.get("first_seen_at").longValue()));
        boolean advanced = before == null || RANK.get(name) > RANK.get(before);
        if (advanced) {
            state.put("status", name);
            attempt.put("status", name);
        }
        ObjectNode record = seen.deepCopy();
        record.put("verdict", advanced ? "advanced" : "late");
        record.put("message_status", text(state, "status"));
        return new Tracked(state, record, event(state, seen, before, facts, advanced));
    }

    private static ObjectNode first(ObjectNode seen) {
        ObjectNode state = copy(seen, MESSAGE);
        state.put("version", 1);
        state.set("first_seen_at", seen.get("received_at"));
        state.set("updated_at", seen.get("received_at"));
        state.putObject("attempts");
        return state;
    }

    private static ObjectNode attempt(ObjectNode state, ObjectNode seen) {
        ObjectNode attempts = (ObjectNode) state.get("attempts");
        String gateway = text(seen, "gateway");
        if (!attempts.has(gateway)) {
            ObjectNode attempt = attempts.putObject(gateway);
            attempt.set("channel", seen.get("channel"));
            attempt.set("status", seen.get("status"));
            attempt.putObject("facts");
        }
        return (ObjectNode) attempts.get(gateway);
    }

    private static boolean isOlder(JsonNode one, JsonNode other) {
        int order = Long.compare(occurred(one), occurred(other));
        return order < 0 || (order == 0
                && one.get("received_at").longValue() < other.get("received_at").longValue());
    }

    private static ObjectNode event(ObjectNode state, ObjectNode seen, String before,
            ObjectNode facts, boolean advanced) {
        ObjectNode event = copy(seen, EVENT);
        event.put("event", advanced ? "advanced" : "late");
        event.set("cause", copy(seen, CAUSE));
        if (!advanced) {
            event.put("current", text(state, "status"));
            return event;
        }
        long began = Long.MAX_VALUE;
        for (JsonNode fact : facts) {
            began = Math.min(began, occurred(fact));
        }
        event.put("to", text(state, "status"));
        event.put("elapsed_ms", occurred(seen) - began);
        if (before != null) {
            event.put("from", before);
        }
        return event;
    }

    private static long occurred(JsonNode fact) {
        return fact.get("occurred_at").longValue();
    }

    private static String text(JsonNode node, String name) {
        return node.get(name).textValue();
    }

    private static ObjectNode copy(ObjectNode from, List<String> names) {
        ObjectNode to = JsonNodeFactory.instance.objectNode();
        names.forEach(name -> to.set(name, from.get(name)));
        return to;
    }
}
