"""One example of each published kind of record, made by Bluetick from its providers' documents.

The documented examples of all providers and some simulated messages go through the pipeline in
memory, as `bluetick explain` does it. Of each kind, the record with the most fields is the example.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from cli.contracts.model import Example
from cli.simulator.simulate import simulate
from cli.up.examples import load
from processors.quality.cells import Cells, Limits, applied
from processors.quality.changes import changed
from processors.replay.pipeline_in_memory import (
    Delivery,
    Outcome,
    Published,
    Step,
    Wait,
    run,
    webhook_of,
)
from processors.runtime.exactly_once.changelog_headers import NEXT_TIMER, NOTE, TAKEN_TO
from processors.runtime.exactly_once.offset_note import Note
from processors.tracking import timers
from processors.tracking.timers import PATIENCE
from schemas.codec import encode
from schemas.contract import KINDS
from schemas.quality import PERIODS, route_of
from schemas.records import MessageState, viewer_key
from schemas.webhook import to_headers

_PREFIX = "bluetick."
_BEGAN = 1_764_331_200_000  # 28 November 2025, 12:00 UTC
_SECOND = 1000
_DAY = 24 * 3600 * _SECOND
_SIMULATED = 150

_TAKEN = [(TAKEN_TO, b"512"), (NOTE, Note(_BEGAN, _BEGAN, 500).metadata.encode())]
_LIMITS = Limits(50, dict.fromkeys(PERIODS, 730))

_OBSERVATIONS = {"status": "status-observation", "inbound": "inbound-observation"}


class _State(NamedTuple):
    """A record of `messages`, as measure reads it."""

    key: bytes | None
    value: bytes | None


@cache
def examples() -> dict[str, Example]:
    """Return the example of each kind, in the order of the kinds: of equals the first."""
    return {name: max(made, key=_fullness) for name, made in candidates().items()}


@cache
def candidates() -> dict[str, list[Example]]:
    """Return all records that were made of each kind, in the order of the kinds."""
    ordered = sorted(_candidates(), key=lambda one: one[0])
    groups = groupby(ordered, key=lambda one: one[0])
    found = {name: [example for _, example in group] for name, group in groups}
    return {kind.name: found[kind.name] for kind in KINDS}


def _fullness(example: Example) -> int:
    return _fields(example.value) + len(example.headers)


def _fields(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_fields, value.values()))
    return 0


def _candidates() -> Iterator[tuple[str, Example]]:
    steps = list(_steps())
    deliveries = [step for step in steps if isinstance(step, Delivery)]
    yield from (("raw", _raw(index, one)) for index, one in enumerate(deliveries))
    outcome = run(steps, began_at=_BEGAN, prefix=_PREFIX)
    yield from _states(outcome)
    yield from _quality(outcome)
    later = run([*steps, Wait(46 * _DAY)], began_at=_BEGAN, prefix=_PREFIX)
    yield from (_published(one) for one in later.records)


def _steps() -> Iterator[Step]:
    """Yield the documented webhooks, then simulated ones with a silence in their middle."""
    for sample in load():
        yield Delivery(
            sample.source, bytes(sample.body), None, sample.headers, sample.path, sample.method
        )
    posts = simulate(messages=_SIMULATED, base_time_ms=_BEGAN, seed=1, malformed=0.05).posts
    for index, post in enumerate(posts):
        if index == len(posts) // 2:
            yield Wait(2 * _DAY)
        yield Wait(_SECOND)
        yield Delivery(post.source, post.body, None, {}, post.path, post.method)


def _raw(index: int, delivery: Delivery) -> Example:
    webhook = webhook_of(delivery, _BEGAN, str(UUID(int=index, version=4)))
    headers = to_headers(webhook)
    return _example(f"raw.{delivery.provider}", None, headers, delivery.body)


def _published(one: Published) -> tuple[str, Example]:
    if one.topic == "dead-letters":
        return "dead-letter", _example(one.topic, None, one.headers, one.record.value)
    name = _OBSERVATIONS[one.type] if one.topic == "observations" else one.type
    return name, _example(one.topic, one.key, one.headers, encode(one.record))


def _states(outcome: Outcome) -> Iterator[tuple[str, Example]]:
    for key, state in outcome.messages.items():
        headers = [(NEXT_TIMER, b"%d" % timers.due(state, PATIENCE))]
        yield "message", _example("messages", key, headers, encode(state))
    for viewer in outcome.viewers.values():
        message: MessageState = outcome.messages[viewer.message_key]
        headers = [(NEXT_TIMER, b"%d" % timers.outlives(message))]
        key = viewer_key(viewer.message_key, viewer.viewer)
        yield "viewer", _example("messages", key, headers, encode(viewer))


def _quality(outcome: Outcome) -> Iterator[tuple[str, Example]]:
    """Yield what measure makes of the states."""
    states = [_State(key.encode(), encode(state)) for key, state in outcome.messages.items()]
    found = changed(states, lambda keys: [None] * len(keys))
    for key, value in found.contributions.items():
        if value is not None:
            example = _example("quality-contributions", key.decode(), _TAKEN, value)
            yield "quality-contribution", example
    for one in found.changes:
        key = str(route_of(one)).encode()
        yield "quality-change", _example("quality-changes", key.decode(), (), encode(one))
    cells = Cells(lambda keys: [None] * len(keys), lambda *_: [])
    for key, value in applied(found.changes, cells, _LIMITS, _BEGAN).cells.items():
        if value is not None:
            yield "quality-cell", _example("quality", key.decode(), _TAKEN, value)


def _example(
    topic: str, key: str | None, headers: Iterable[tuple[str, bytes]], value: bytes
) -> Example:
    texts = {name: text.decode() for name, text in reversed([*headers])}
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        decoded = None
    return Example(f"{_PREFIX}{topic}", key, dict(reversed(texts.items())), decoded)
