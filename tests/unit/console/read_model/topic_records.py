"""Records as they are on the topics, made by the pipeline in memory of simulated webhooks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cli.contracts.examples import _BEGAN, _DAY, _PREFIX, _steps
from console.read_model.changes import Changes, add
from console.read_model.database import Database
from console.read_model.write import apply
from processors.dead_letters.record import Headers
from processors.replay.pipeline_in_memory import Outcome, Wait, run
from schemas.codec import encode
from schemas.records import MessageState, viewer_key

BEGAN = _BEGAN


@dataclass(frozen=True)
class Record:
    """A Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@cache
def outcomes() -> tuple[Outcome, ...]:
    """The states after half of the webhooks, and the end: 12 days later some are stalled."""
    steps = list(_steps())
    half = run(steps[: len(steps) // 2], began_at=_BEGAN, prefix=_PREFIX)
    return half, run([*steps, Wait(12 * _DAY)], began_at=_BEGAN, prefix=_PREFIX)


def states() -> Mapping[str, MessageState]:
    """Return the messages at the end."""
    return outcomes()[-1].messages


@cache
def records() -> list[tuple[str, Record]]:
    """All records with the kind of their topic, each kind in the order of its offsets."""
    return [*_states(), *_published(outcomes()[-1])]


def _states() -> Iterator[tuple[str, Record]]:
    offset = 0
    for outcome in outcomes():
        values: dict[str, Any] = dict(outcome.messages)
        values |= {viewer_key(one.message_key, one.viewer): one for one in outcome.viewers.values()}
        for key, state in values.items():
            name = f"{_PREFIX}messages"
            yield "messages", Record(name, 0, offset, BEGAN, key.encode(), encode(state))
            offset += 1


def _published(outcome: Outcome) -> Iterator[tuple[str, Record]]:
    offsets: dict[str, int] = {}
    for one in outcome.records:
        if one.topic in ("statuses", "events", "inbound", "dead-letters"):
            offset = offsets[one.topic] = offsets.get(one.topic, -1) + 1
            is_letter = one.topic == "dead-letters"
            value = one.record.value if is_letter else encode(one.record)
            key = None if is_letter else one.key.encode()
            name = f"{_PREFIX}{one.topic}"
            yield one.topic, Record(name, 0, offset, one.at, key, value, one.headers)


def load(database: Database, found: list[tuple[str, Record]], batch: int = 100_000) -> None:
    """Apply records in batches, without offsets; then the first load has ended."""
    for start in range(0, len(found), batch):
        changes = Changes()
        for kind, record in found[start : start + batch]:
            add(changes, kind, [record])
        assert changes.unreadable == 0
        with database.writing() as connection:
            apply(database, connection, changes)
    database.create_indexes()


def filled(url: str = "sqlite://") -> Database:
    """Return a database with all records and its indexes."""
    database = Database(url)
    database.create()
    load(database, records())
    return database
