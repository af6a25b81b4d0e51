"""The records that the derived topics must hold, computed from the raw topics in one plain loop.

The oracle shares only the parsing of bodies with the services
(`processors.normalising.webhook_to_observations`). The order of a message's observations is the
tracker's input order. The first of equal observations counts, because repeats change nothing.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from processors.normalising.webhook_to_observations import normalise
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
        """Fire what is due: first `stalled`, then `forgotten`."""
        lifecycle = self._lifecycles.get(key)
        if lifecycle is None:
            return
        since = lifecycle.stalls
        if since is not None and since <= now:
            fields = {"status": lifecycle.status, "waiting_ms": lifecycle.patience}
            identity = f"{since}", f"{lifecycle.own_count}"
            why = lifecycle.newest_own
            self._event(lifecycle, "stalled", identity, why, fields, gateway=lifecycle.best)
            lifecycle = self._lifecycles[key] = lifecycle.with_stall(since)
        if lifecycle.expires <= now:
            updated = f"{max(lifecycle.receipt_times)}"
            name, newest = lifecycle.newest_of_all
            gateway = lifecycle.best or (name if is_status(newest) else "")
            summary = _summary(lifecycle)
            self._event(
                lifecycle, "forgotten", (updated,), (name, newest), summary, gateway=gateway
            )
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
        known = _completed(after, report)
        self._publish("statuses", after.key, identity, {**known, "verdict": verdict, **status})
        if "viewer" not in report:
            self._publish_events(before, after, report, verdict, earlier)
        elif report["status"] in REACHED and before.audience != after.audience:
            rose = {"viewer": report["viewer"], "rung": report["status"]}
            rose["reached"] = after.audience[report["status"]]
            replay = {"replay": report["replay"]} if "replay" in report else {}
            why = report["gateway"], report
            self._event(after, "viewed", _fact_id(report), why, rose | replay)
        if before.stalled_since is not None and _progress(before) != _progress(after):
            fields = {"status": after.status, "stalled_since": before.stalled_since}
            stall = f"{before.stalled_since}", f"{before.own_count}"
            self._event(after, "resumed", stall, (report["gateway"], report), fields)
            self._lifecycles[after.key] = after.with_stall(None)

    def _publish_events(
        self, before: Lifecycle, after: Lifecycle, report: Json, verdict: str, earlier: str | None
    ) -> None:
        """Publish the events of a new fact of the message's own."""
        gateway = report["gateway"]
        why = gateway, report
        replay = {"replay": report["replay"]} if "replay" in report else {}
        if before.own and gateway not in before.own:
            others: Json = {"earlier": sorted(before.own)[:_EARLIER_GATEWAYS]}
            self._event(after, "fell_back", (gateway,), why, others | replay)
        elapsed = time_of(report) - (after.began or 0)
        match verdict:
            case "advanced" | "recovered":
                came = {} if before.status is None else {"from": before.status}
                move = {"to": after.status, "elapsed_ms": elapsed}
                self._event(after, verdict, _fact_id(report), why, came | move | replay)
            case "late":
                fields = {"current": after.status}
                self._event(after, "late", _fact_id(report), why, fields | replay)
            case "contradiction":
                fields = {"current": after.status, "evidence": earlier}
                self._event(after, "contradicted", _fact_id(report), why, fields | replay)

    def _publish_inbound(self, before: Lifecycle, after: Lifecycle, report: Json) -> None:
        """Publish an inbound message if it is new or better, and the event of what it answers."""
        name = report["message_key"]
        if name in before.replies:
            if after.revision > before.revision:
                self._publish_correction(after, report)
            return
        if after.key == _home(report):
            self._publish("inbound", after.key, _ce_id("inbound", name), _addressed(after, report))
        if after.key == report.get("in_reply_to") and after.direction != "inbound":
            elapsed = -1 if after.began is None else time_of(report) - after.began
            fields = {"elapsed_ms": elapsed} if elapsed >= 0 else {}
            why = cause("", report) | {"gateway": report["gateway"]}
            replay = {"replay": report["replay"]} if "replay" in report else {}
            more = {"cause": why, **fields, **replay}
            self._event(after, "replied", (name,), ("", report), more, gateway=report["gateway"])

    def _publish_correction(self, after: Lifecycle, report: Json) -> None:
        """Publish the message again, with its better content."""
        written = after.replies[after.key].get("occurred_at")
        known = {"occurred_at": written} if written is not None else {}
        record = {**known, **_addressed(after, report), "revision": after.revision}
        edited_at, _, _, at, digest = after.content_rank or []
        identity = _ce_id("inbound", report["message_key"], f"{edited_at}", f"{at}", digest)
        self._publish("inbound", after.key, identity, record)

    def _event(
        self,
        lifecycle: Lifecycle,
        name: str,
        identity: Iterable[str],
        why: tuple[str, Json],
        more: Json,
        *,
        gateway: str | None = None,
    ) -> None:
        common = {"event": name, "cause": cause(*why), "raw": why[1]["raw"]}
        about = _about(lifecycle, why[0] if gateway is None else gateway)
        if name in ("viewed", "replied", "resumed"):
            about = {"channel": why[1]["channel"], **about}
        key = lifecycle.key
        self._publish("events", key, _ce_id(name, key, *identity), common | about | more)

    def _publish(self, topic: str, key: str, ce_id: str, record: Json) -> None:
        records = self._expected.outputs[topic].setdefault(key, [])
        records.append(Published(ce_id, canonical(record)))


_ABOUT = (
    *("message_key", "provider", "account", "message_id"),
    *("direction", "recipient", "payload"),
)


def _about(lifecycle: Lifecycle, gateway: str) -> Json:
    """Return the fields of an event that describe its message."""
    state = lifecycle.state()
    attempt = state.get("attempts", {}).get(gateway, {})
    about = {name: state[name] for name in _ABOUT if name in state}
    channel = {"channel": attempt["channel"]} if attempt else {}
    where = {"gateway": gateway} if gateway else {}
    return {"direction": "unknown", **where, **channel, **about}


def _completed(lifecycle: Lifecycle, report: Json) -> Json:
    """Return a status with the known values of its message that the report lacks."""
    known = _about(lifecycle, report["gateway"])
    whose: Json = {name: known[name] for name in ("recipient", "payload") if name in known}
    own = dict(report)
    if lifecycle.direction == "inbound" != report.get("direction"):
        own.pop("recipient", None)
    return {**whose, **own, "direction": lifecycle.direction}


def _addressed(lifecycle: Lifecycle, report: Json) -> Json:
    """Return an inbound message with the known recipient and payload that it lacks."""
    if lifecycle.key != report["message_key"]:
        return report
    known = _about(lifecycle, report["gateway"])
    whose: Json = {name: known[name] for name in ("recipient", "payload") if name in known}
    return {**whose, **report}


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
    """Return the fields of `forgotten`."""
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
