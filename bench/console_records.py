"""Generates the records of millions of messages on all topics: copies of a few with other ids."""

import re
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from cli.simulator.simulate import duration_ms, simulate
from processors.replay.pipeline_in_memory import Delivery, run
from schemas.codec import encode
from service.wall_clock import now_ms

_TEMPLATES = 512
_SIMULATED = 1500
_SEED = 7
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
_TOPICS = ("statuses", "events")


class Copied(NamedTuple):
    """A record of a message: the kind of its topic, its key and value."""

    kind: str
    key: bytes
    value: bytes


class Message(NamedTuple):
    """All records of one message, and the values that find it."""

    records: list[Copied]
    message_id: str
    number: str
    serial: int


class _Template(NamedTuple):
    records: list[Copied]
    message_id: bytes
    request_id: bytes
    number: bytes
    serial: bytes


def messages(seed: int = _SEED) -> Iterator[Message]:
    """Yield messages endlessly, each with a number and a serial number of its own."""
    templates = list(islice(_templates(), _TEMPLATES))
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    serial = 100_000_000
    while True:
        for template in templates:
            serial += 1
            yield _copy(template, random, serial)


def _copy(template: _Template, random: Random, serial: int) -> Message:
    id_ = b"%032x" % random.getrandbits(128)
    number = template.number[:5] + b"%07d" % (serial % 10_000_000)
    changes = [
        (template.message_id, b"-".join((id_[:8], id_[8:12], id_[12:16], id_[16:20], id_[20:]))),
        (template.request_id, b"%s" % id_),
        (template.number, number),
        (template.serial, b'"serial":%d' % serial),
    ]
    records = []
    for kind, key, value in template.records:
        copied = value
        for old, new in changes:
            copied = copied.replace(old, new)
        records.append(Copied(kind, key.replace(*changes[0]), copied))
    return Message(records, changes[0][1].decode(), number.decode(), serial)


def _templates() -> Iterator[_Template]:
    began = now_ms() - duration_ms(_SIMULATED) - 3_600_000
    posts = simulate(messages=_SIMULATED, base_time_ms=began, seed=_SEED).posts
    gap = duration_ms(_SIMULATED) // len(posts)
    steps = (
        Delivery(post.source, post.body, began + at * gap, {}, post.path, post.method)
        for at, post in enumerate(posts)
    )
    outcome = run(steps, began_at=began, prefix="bench.")
    found: dict[str, list[Copied]] = {}
    for one in outcome.records:
        if one.topic in _TOPICS:
            record = Copied(one.topic, one.key.encode(), encode(one.record))
            found.setdefault(one.key, []).append(record)
    for key, state in outcome.messages.items():
        number = (state.recipient or "").encode()
        payload = state.payload if isinstance(state.payload, dict) else {}
        if _ID.search(key) and state.message_id and len(number) == 12 and "serial" in payload:  # noqa: PLR2004
            records = [*found.get(key, ()), Copied("messages", key.encode(), encode(state))]
            request = (state.request_id or "-").encode()
            serial = b'"serial":%d' % payload["serial"]
            yield _Template(records, key[-36:].encode(), request, number, serial)
