"""What the topics must hold after the faults, recomputed from the raw topics by one plain loop.

It shares nothing with the services but the parsing of bodies
(`processors.normalising.normalise`). The order of
a message's observations is the tracker's input order, read from the observations topic: first
appearances count, since repeats change nothing.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from processors.normalising.normalise import normalise
from providers.contract import Coordinates
from schemas.codec import encode
from schemas.topics import Topics
from schemas.webhook import from_record
from tests.broker.reading import Read
from tests.faults.lives import (
    BESIDE,
    FAILED,
    THERE,
    Json,
    Life,
    cause,
    fact_name,
    is_status,
    stand,
    when,
)

_MOST = 10  # earlier gateways that an event names


class Letter(NamedTuple):
    """A dead letter: where its body lies, which part of it, why, and the part itself."""

    topic: str
    partition: int
    offset: int
    pointer: str
    code: str
    value: bytes


@dataclass
class Normalised:
    """What normalise must make of the bodies: records of `observations` by key and value."""

    observations: set[tuple[str, bytes]] = field(default_factory=set)
    letters: set[Letter] = field(default_factory=set)


@dataclass
class Tracked:
    """What track must make of the observations.

    `outputs` holds, by topic, each key's records in order as canonical JSON; `states` the last
    state of each key, None if it expired; `due` when each that is left is to be looked at next.
    """

    outputs: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {"statuses": {}, "events": {}, "inbound": {}}
    )
    states: dict[str, Json | None] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)

    def count(self, topic: str) -> int:
        return sum(map(len, self.outputs[topic].values()))


def expect_observations(topics: Topics, raw: Iterable[Read]) -> Normalised:
    """Normalise every body once."""
    expected = Normalised()
    for record in raw:
        provider = topics.provider_of(record.topic)
        webhook = from_record(provider, record.value, record.headers.items(), record.timestamp)
        at = Coordinates(record.topic, record.partition, record.offset)
        result = normalise(webhook, at)
        for observation in result.observations:
            value = encode(observation)
            expected.observations.update((key, value) for key in _keys(json.loads(value)))
        expected.letters.update(
            Letter(*at, x.pointer, x.code, x.value) for x in result.dead_letters
        )
    return expected


def expect_tracked(observations: Iterable[Read], now: int) -> Tracked:
    """Track what is on the observations topic; what is due at `now` (Unix ms) fires at the end."""
    tracker = _Tracker()
    seen: set[tuple[str, bytes]] = set()
    for record in observations:
        if (record.key, record.value) not in seen:
            seen.add((record.key, record.value))
            tracker.take(record.key, json.loads(record.value))
    return tracker.end(now)


def canonical(record: Any) -> str:
    """The same text for the same JSON, whatever the order of its fields."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class _Tracker:
    """Messages under way, and what they gave rise to."""

    def __init__(self) -> None:
        self._lives: dict[str, Life | None] = {}
        self._result = Tracked()

    def take(self, key: str, told: Json) -> None:
        self._fire(key, told["received_at"])
        before = self._lives.get(key) or Life(key, ())
        after = before.hearing(told)
        self._lives[key] = after
        if not is_status(told):
            self._answered(before, after, told)
        elif fact_name(told) not in before.ladders.get((told["gateway"], told.get("viewer")), {}):
            self._learnt(before, after, told)

    def end(self, now: int) -> Tracked:
        for key in list(self._lives):
            self._fire(key, now)
        self._result.states = {
            key: life.state() if life else None for key, life in self._lives.items()
        }
        for life in filter(None, self._lives.values()):
            self._result.states.update(life.viewer_states())
        self._result.due = {key: life.due for key, life in self._lives.items() if life}
        return self._result

    def _fire(self, key: str, now: int) -> None:
        """Fire what is due: first the alarm, then the end."""
        life = self._lives.get(key)
        if life is None:
            return
        since = life.stalls
        if since is not None and since <= now:
            told = {"status": life.status, "waiting_ms": life.patience}
            self._event(life, "stalled", life.heard, told, life.best)
            life = self._lives[key] = life.stalled(since)
        if life.expires <= now:
            last, told = life.heard_at_all
            gateway = life.best or (last if is_status(told) else "")
            self._event(life, "forgotten", (last, told), _summary(life), gateway)
            self._lives[key] = None

    def _learnt(self, before: Life, after: Life, told: Json) -> None:
        """Publish a fact that was not known, and what follows from it."""
        rung = told["gateway"], told.get("viewer")
        stood = stand(before.ladders[rung]) if rung in before.ladders else None
        moved = stood != stand(after.ladders[rung])
        if "viewer" not in told:
            moved = before.status != after.status
        verdict = _verdict(told["status"], stood, moved=moved)
        standing = {} if after.status is None else {"message_status": after.status}
        known = _completed(after, told)
        self._publish("statuses", after.key, {**known, "verdict": verdict, **standing})
        if "viewer" not in told:
            self._moved(before, after, told, verdict, stood)
        elif told["status"] in THERE and before.audience != after.audience:
            rose = {"viewer": told["viewer"], "rung": told["status"]}
            rose["reached"] = after.audience[told["status"]]
            replay = {"replay": told["replay"]} if "replay" in told else {}
            self._event(after, "viewed", (told["gateway"], told), rose | replay)
        if before.stalled_since is not None and _standing(before) != _standing(after):
            since = {"status": after.status, "stalled_since": before.stalled_since}
            self._event(after, "resumed", (told["gateway"], told), since)
            self._lives[after.key] = after.stalled(None)

    def _moved(
        self, before: Life, after: Life, told: Json, verdict: str, stood: str | None
    ) -> None:
        """Publish the events of a new fact of the message's own."""
        why = told["gateway"], told
        replay = {"replay": told["replay"]} if "replay" in told else {}
        if before.own and told["gateway"] not in before.own:
            earlier: Json = {"earlier": sorted(before.own)[:_MOST]}
            self._event(after, "fell_back", why, earlier | replay)
        elapsed = when(told) - (after.began or 0)
        match verdict:
            case "advanced" | "recovered":
                came = {} if before.status is None else {"from": before.status}
                move = {"to": after.status, "elapsed_ms": elapsed}
                self._event(after, verdict, why, came | move | replay)
            case "late":
                self._event(after, "late", why, {"current": after.status} | replay)
            case "contradiction":
                evidence = {"current": after.status, "evidence": stood}
                self._event(after, "contradicted", why, evidence | replay)

    def _answered(self, before: Life, after: Life, told: Json) -> None:
        """Publish an inbound message if it is new or better, and tell the message it answers."""
        if told["message_key"] in before.replies:
            if after.revision > before.revision:
                written = after.replies[after.key].get("occurred_at")
                known = {"occurred_at": written} if written is not None else {}
                record = {**known, **_addressed(after, told), "revision": after.revision}
                self._publish("inbound", after.key, record)
            return
        answers = told.get("in_reply_to")
        home = told["message_key"] if "message_id" in told or not answers else answers
        if after.key == home:
            self._publish("inbound", after.key, _addressed(after, told))
        if after.key == answers and after.direction != "inbound":
            elapsed = -1 if after.began is None else when(told) - after.began
            more = {"elapsed_ms": elapsed} if elapsed >= 0 else {}
            why = cause("", told) | {"gateway": told["gateway"]}
            replay = {"replay": told["replay"]} if "replay" in told else {}
            answer = {"cause": why, **more, **replay}
            self._event(after, "replied", ("", told), answer, told["gateway"])

    def _event(
        self, life: Life, name: str, why: tuple[str, Json], more: Json, gateway: str | None = None
    ) -> None:
        common = {"event": name, "cause": cause(*why), "raw": why[1]["raw"]}
        about = _about(life, why[0] if gateway is None else gateway)
        if name in ("viewed", "replied"):
            about = {"channel": why[1]["channel"], **about}
        self._publish("events", life.key, common | about | more)

    def _publish(self, topic: str, key: str, record: Json) -> None:
        self._result.outputs[topic].setdefault(key, []).append(canonical(record))


def _about(life: Life, gateway: str) -> Json:
    """What an event says of its message."""
    state = life.state()
    attempt = state.get("attempts", {}).get(gateway, {})
    about = {name: state[name] for name in _ABOUT if name in state}
    channel = {"channel": attempt["channel"]} if attempt else {}
    where = {"gateway": gateway} if gateway else {}
    return {"direction": "unknown", **where, **channel, **about}


_ABOUT = (
    *("message_key", "provider", "account", "message_id"),
    *("direction", "recipient", "payload"),
)


def _completed(life: Life, told: Json) -> Json:
    """A status with what its message is known by, where it does not say so itself."""
    known = _about(life, told["gateway"])
    whose: Json = {name: known[name] for name in ("recipient", "payload") if name in known}
    own = dict(told)
    if life.direction == "inbound" != told.get("direction"):
        own.pop("recipient", None)
    return {**whose, **own, "direction": life.direction}


def _addressed(life: Life, told: Json) -> Json:
    """An inbound message with its recipient and payload, if they are known otherwise."""
    if life.key != told["message_key"]:
        return told
    known = _about(life, told["gateway"])
    whose: Json = {name: known[name] for name in ("recipient", "payload") if name in known}
    return {**whose, **told}


def _verdict(status: str, stood: str | None, *, moved: bool) -> str:
    """Judge a new fact by where its ladder stood and by whether it moved anything."""
    if status in BESIDE:
        return "aside"
    if status in FAILED and stood in THERE:
        return "contradiction"
    if not moved:
        return "late"
    return "recovered" if status in THERE and stood in FAILED else "advanced"


def _standing(life: Life) -> tuple[object, ...]:
    return life.best, life.status, bool(life.viewers)


def _summary(life: Life) -> Json:
    """What is told of a message at its end."""
    took = {f"to_{status}_ms": life.took(status) for status in ("sent", "delivered", "read")}
    bill = life.billing or {}
    summary = {
        "status": life.status,
        "attempts": len(life.own) or None,
        **took,
        "parts": bill.get("parts"),
        "prices": bill.get("prices"),
    }
    return {name: value for name, value in summary.items() if value is not None}


def _keys(told: Json) -> Iterator[str]:
    """The keys an observation is published under: its home, and the message it answers."""
    answers = told.get("in_reply_to")
    if answers is None or "message_id" in told:
        yield told["message_key"]
    if answers is not None:
        yield answers
