"""The peer Quix Streams: `python -m bench.peers.quix_streams`, in the peers' environment."""

from os import environ
from typing import Any

from quixstreams import Application, State

from bench.peers.cloud_events import Headers, headers_of
from bench.peers.lifecycle import Json, track

_COMMIT_SECONDS = 1.0


def facts(observation: Json, state: State) -> list[Json]:
    """Return the outputs of an observation: a status record with its event, or nothing."""
    tracked = track(state.get("message"), observation)
    state.set("message", tracked.state)
    if tracked.status is None:
        return []
    return [{"status": tracked.status, "event": tracked.event}]


def headers(value: Json, key: Any, _: int, __: Any) -> Headers:
    """Return the headers of a status record or an event."""
    name = key.decode() if isinstance(key, bytes) else key
    if event := value.get("event"):
        fact, kind, at = value["cause"]["status"], event, value["cause"]["occurred_at"]
    else:
        fact, kind, at = value["status"], "status", value["occurred_at"]
    return headers_of(f"bluetick.message.{kind}", f"{name}#{kind}#{fact}", name, at)


def main() -> None:
    app = Application(
        broker_address=environ["KAFKA"],
        consumer_group=environ["GROUP"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=_COMMIT_SECONDS,
        state_dir=environ["DATA"],
        auto_create_topics=True,  # its changelog
        producer_extra_config={"compression.type": "zstd", "linger.ms": 20, "acks": "all"},
        loglevel="WARNING",
    )
    observed = app.dataframe(app.topic(environ["INPUT"], value_deserializer="json"))
    found = observed.apply(facts, stateful=True, expand=True)
    for name in ("status", "event"):
        topic = app.topic(environ[name.upper()], value_serializer="json")
        found.apply(lambda both, name=name: both[name]).set_headers(headers).to_topic(topic)
    app.run()


if __name__ == "__main__":
    main()
