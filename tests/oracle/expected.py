"""The records that the derived topics must hold, computed from the raw topics in one plain loop.

The oracle shares only the parsing of bodies with the services
(`processors.normalising.normalise`). The order of a message's observations is the tracker's input
order. The first of equal observations counts, because repeats change nothing.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from processors.normalising.normalise import normalise
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.topics import Topics
from schemas.webhook import from_record
from tests.broker.reading import Read
from tests.oracle.lifecycle import (
    ASIDE,
    FAILED,
    REACHED,
    Json,
    Lifecycle,
    cause,
    fact_name,
    is_status,
    ladder_key,
    ladder_status,
    time_of,
)

_EARLIER_GATEWAYS = 10  # the most that an event names

KeyAndValue = tuple[str, bytes]
"""A record of `observations`."""


class DeadLetter(NamedTuple):
    """A dead letter: the coordinates of its body, the part of it, the code, and the part itself."""

    topic: str
    partition: int
    offset: int
    pointer: str
    code: str
    value: bytes


@dataclass
class ExpectedObservations:
    """What normalise must make of the bodies: records of `observations` by key and value."""

    observations: set[KeyAndValue] = field(default_factory=set)
    dead_letters: set[DeadLetter] = field(default_factory=set)


class Published(NamedTuple):
    """An output: its CloudEvents id, and the record as canonical JSON."""

    ce_id: str
    record: str


@dataclass
class ExpectedOutputs:
    """What track must make of the observations.

    `outputs` holds, by topic, each key's records in order; `states` the last state of each key,
    None if it expired; `due` when each remaining message's next timer is due, Unix ms.
    """

    outputs: dict[str, dict[str, list[Published]]] = field(
        default_factory=lambda: {"statuses": {}, "events": {}, "inbound": {}}
    )
    states: dict[str, Json | None] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)

    def count(self, topic: str) -> int:
        return sum(map(len, self.outputs[topic].values()))

    def all(self, topic: str) -> Iterator[tuple[str, Published]]:
        """Yield a topic's records, each with its key."""
        for key, records in self.outputs[topic].items():
            for record in records:
                yield key, record


def expect_observations(topics: Topics, raw: Iterable[Read]) -> ExpectedObservations:
    """Normalise every body once."""
    expected = ExpectedObservations()
    for record in raw:
        observations, dead_letters = _normalised(topics, record)
        expected.observations.update(observations)
        expected.dead_letters.update(dead_letters)
    return expected


def observations_in_order(topics: Topics, raw: Iterable[Read]) -> Iterator[KeyAndValue]:
    """Yield the records of `observations` in the order of the raw records."""
    for record in raw:
        yield from _normalised(topics, record)[0]


def expect_outputs(observations: Iterable[KeyAndValue], now: int) -> ExpectedOutputs:
    """Track the observations; the timers due at `now` (Unix ms) fire at the end."""
    tracker = _Tracker()
    seen: set[KeyAndValue] = set()
    for one in observations:
        if one not in seen:
            seen.add(one)
            tracker.add(one[0], json.loads(one[1]))
    return tracker.end(now)


def records_of(topic: Iterable[Read]) -> Iterator[KeyAndValue]:
    """Yield key and value of each record read from `observations`."""
    return ((record.key, record.value) for record in topic)


def first_ce_id(key: str, report: Json) -> str:
    """Return the id of the first record published for a report, if its fact is new."""
    if is_status(report):
        return _ce_id("status", key, *_fact_id(report))
    if key == _home(report):
        return _ce_id("inbound", report["message_key"])
    return _ce_id("replied", key, report["message_key"])


def canonical(record: Any) -> str:
    """Return the same text for the same JSON, whatever the order of its fields."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _normalised(topics: Topics, record: Read) -> tuple[list[KeyAndValue], list[DeadLetter]]:
    provider = topics.provider_of(record.topic)
    webhook = from_record(provider, record.value, record.headers.items(), record.timestamp)
    at = Coordinates(record.topic, record.partition, record.offset)
    result = normalise(webhook, at)
    values = [encode(observation) for observation in result.observations]
    observations = [(key, value) for value in values for key in _keys(json.loads(value))]
    return observations, [DeadLetter(*at, x.pointer, x.code, x.value) for x in result.dead_letters]


class _Tracker:
    """The lifecycles of all messages, and the records they lead to."""

    def __init__(self) -> None:
        self._lifecycles: dict[str, Lifecycle | None] = {}
        self._expected = ExpectedOutputs()

    def add(self, key: str, report: Json) -> None:
        self._fire(key, report["received_at"])
        before = self._lifecycles.get(key) or Lifecycle(key, ())
        after = before.with_report(report)
        self._lifecycles[key] = after
        if not is_status(report):
            self._publish_inbound(before, after, report)
        elif fact_name(report) not in before.ladders.get(ladder_key(report), {}):
            self._publish_fact(before, after, report)

    def end(self, now: int) -> ExpectedOutputs:
        for key in list(self._lifecycles):
            self._fire(key, now)
        self._expected.states = {
            key: lifecycle.state() if lifecycle else None
            for key, lifecycle in self._lifecycles.items()
        }
        for lifecycle in filter(None, self._lifecycles.values()):
            self._expected.states.update(lifecycle.viewer_states())
        self._expected.due = {key: one.due for key, one in self._lifecycles.items() if one}
        return self._expected

    def _fire(self, key: str, now: int) -> None:
        """Fire what is due: first `stalled`, then `expired`."""
        lifecycle = self._lifecycles.get(key)
        if lifecycle is None:
            return
        since = lifecycle.stalls
        if since is not None and since <= now:
            fields = {"status": lifecycle.status, "waiting_ms": lifecycle.patience}
            identity = f"{since}", f"{lifecycle.own_count}"
            self._event(key, "stalled", identity, lifecycle.newest_own, fields)
            lifecycle = self._lifecycles[key] = lifecycle.with_stall(since)
        if lifecycle.expires <= now:
            updated = f"{max(lifecycle.receipt_times)}"
            self._event(key, "expired", (updated,), lifecycle.newest_of_all, _summary(lifecycle))
            self._lifecycles[key] = None

    def _publish_fact(self, before: Lifecycle, after: Lifecycle, report: Json) -> None:
        """Publish a new fact, and the events that follow from it."""
        key = ladder_key(report)
        earlier = ladder_status(before.ladders[key]) if key in before.ladders else None
        moved = earlier != ladder_status(after.ladders[key])
        if "viewer" not in report:
            moved = before.status != after.status
        verdict = _verdict(report["status"], earlier, moved=moved)
        status = {} if after.status is None else {"message_status": after.status}
        identity = _ce_id("status", after.key, *_fact_id(report))
        self._publish("statuses", after.key, identity, {**report, "verdict": verdict, **status})
        if "viewer" not in report:
            self._publish_events(before, after, report, verdict, earlier)
        if before.stalled_since is not None and _progress(before) != _progress(after):
            fields = {"status": after.status, "stalled_since": before.stalled_since}
            stall = f"{before.stalled_since}", f"{before.own_count}"
            self._event(after.key, "resumed", stall, (report["gateway"], report), fields)
            self._lifecycles[after.key] = after.with_stall(None)

    def _publish_events(
        self, before: Lifecycle, after: Lifecycle, report: Json, verdict: str, earlier: str | None
    ) -> None:
        """Publish the events of a new fact of the message's own."""
        gateway = report["gateway"]
        why = gateway, report
        replay = {"replay": report["replay"]} if "replay" in report else {}
        if before.own and gateway not in before.own:
            others = {"gateway": gateway, "earlier": sorted(before.own)[:_EARLIER_GATEWAYS]}
            self._event(after.key, "fell_back", (gateway,), why, others | replay)
        elapsed = time_of(report) - (after.began or 0)
        match verdict:
            case "advanced" | "recovered":
                came = {} if before.status is None else {"from": before.status}
                move = {"to": after.status, "elapsed_ms": elapsed}
                self._event(after.key, verdict, _fact_id(report), why, came | move | replay)
            case "late":
                fields = {"current": after.status}
                self._event(after.key, "late", _fact_id(report), why, fields | replay)
            case "contradiction":
                fields = {"current": after.status, "evidence": earlier}
                self._event(after.key, "contradicted", _fact_id(report), why, fields | replay)

    def _publish_inbound(self, before: Lifecycle, after: Lifecycle, report: Json) -> None:
        """Publish an inbound message if it is new, and the event of the message it answers."""
        name = report["message_key"]
        if name in before.replies:
            return
        if after.key == _home(report):
            self._publish("inbound", after.key, _ce_id("inbound", name), report)
        if after.key == report.get("in_reply_to"):
            elapsed = -1 if after.began is None else time_of(report) - after.began
            fields = {"elapsed_ms": elapsed} if elapsed >= 0 else {}
            why = cause("", report) | {"gateway": report["gateway"]}
            replay = {"replay": report["replay"]} if "replay" in report else {}
            more = {"cause": why, **fields, **replay}
            self._event(after.key, "replied", (name,), ("", report), more)

    def _event(
        self, key: str, name: str, identity: Iterable[str], why: tuple[str, Json], more: Json
    ) -> None:
        common = {"event": name, "message_key": key, "cause": cause(*why), "raw": why[1]["raw"]}
        self._publish("events", key, _ce_id(name, key, *identity), common | more)

    def _publish(self, topic: str, key: str, ce_id: str, record: Json) -> None:
        records = self._expected.outputs[topic].setdefault(key, [])
        records.append(Published(ce_id, canonical(record)))


def _verdict(status: str, earlier: str | None, *, moved: bool) -> str:
    """Return the verdict on a new fact: by its ladder's earlier status, and whether it moved."""
    if status in ASIDE:
        return "aside"
    if status in FAILED and earlier in REACHED:
        return "contradiction"
    if not moved:
        return "late"
    return "recovered" if status in REACHED and earlier in FAILED else "advanced"


def _progress(lifecycle: Lifecycle) -> tuple[object, ...]:
    """Return what must change for a stall to end."""
    return lifecycle.best, lifecycle.status, bool(lifecycle.viewers)


def _summary(lifecycle: Lifecycle) -> Json:
    """Return the fields of `expired`."""
    times = {
        f"to_{status}_ms": lifecycle.time_to(status) for status in ("sent", "delivered", "read")
    }
    bill = lifecycle.billing or {}
    summary = {
        "status": lifecycle.status,
        "attempts": len(lifecycle.own) or None,
        **times,
        "parts": bill.get("parts"),
        "prices": bill.get("prices"),
    }
    return {name: value for name, value in summary.items() if value is not None}


def _keys(report: Json) -> Iterator[str]:
    """Yield the keys an observation is published under: its own, and that of its message."""
    answers = report.get("in_reply_to")
    if answers is None or "message_id" in report:
        yield report["message_key"]
    if answers is not None:
        yield answers


def _home(report: Json) -> str:
    """Return the key whose state owns an inbound message."""
    answers = report.get("in_reply_to")
    return str(report["message_key"] if "message_id" in report or not answers else answers)


def _fact_id(report: Json) -> tuple[str, str, str]:
    return report["gateway"], report.get("viewer", ""), fact_name(report)


def _ce_id(*parts: str) -> str:
    """Return 32 hex digits that depend on the fact alone."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
