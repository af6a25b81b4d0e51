"""The known replays: the spec and the progress of each, kept as consumer groups on Kafka.

For each partition of its range, a replay's group has the reached offset as its committed offset,
and the spec as the commit's metadata. So the id is enough to continue a replay, on any machine.
"""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.replay.range_syntax import Only
from processors.runtime import consumer_groups
from processors.runtime.consumer_groups import Committed
from processors.runtime.offset_ranges import Span, Window, remaining
from schemas.coordinates import Partition
from service.errors import Problem
from service.kafka import clients
from service.settings import Settings
from service.wall_clock import now_ms

_ID = re.compile(r"[A-Za-z0-9._-]{1,60}")
# The broker's offset.metadata.max.bytes is 4096 by default.
_LARGEST = 4000


class Spec(NamedTuple):
    """The specification of a replay; `archive` is the URL of its bodies, None: the log.

    A `source` selects the bodies received under its name. `accounts` is the fingerprint of the
    accounts permitted in addition to those at reception.
    """

    spans: tuple[Span, ...]
    window: Window = Window()
    only: Only | None = None
    archive: str | None = None
    source: str | None = None
    accounts: str | None = None


class Replay(NamedTuple):
    """A replay as recorded on Kafka; `started_at` is Unix milliseconds."""

    id: str
    started_at: int
    spec: Spec
    reached: Mapping[Partition, int]

    @property
    def left(self) -> list[Span]:
        return remaining(self.spec.spans, self.reached)


def begun(spec: Spec, id_: str | None = None) -> Replay:
    """Return a new replay, by default with an id of its time and random digits."""
    now = now_ms()
    made = f"{datetime.fromtimestamp(now / 1000, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    return Replay(id_ or made, now, spec, {})


class _Note(msgspec.Struct, omit_defaults=True):
    """The metadata of one partition's commit; `partitions` is their number in the range."""

    started_at: int
    partitions: int
    start: int
    end: int
    window: Window = Window()
    only: Only | None = None
    archive: str | None = None
    source: str | None = None
    accounts: str | None = None


_decode = msgspec.json.Decoder(_Note)


def checked(id_: str) -> str:
    """Return the id if it is valid; otherwise raise `Problem`."""
    if not _ID.fullmatch(id_):
        raise Problem("replay_id_invalid", id=id_)
    return id_


async def find(settings: Settings, id_: str) -> Replay | None:
    """Return the replay with that id, None if there is none."""
    return _replay(
        id_, await consumer_groups.committed(settings, settings.topics.group(f"replay.{id_}"))
    )


async def known(settings: Settings) -> list[Replay]:
    """Return all replays that Kafka still holds, the latest last."""
    prefix = settings.topics.group("replay.")
    found = await consumer_groups.begun_with(settings, prefix)
    replays = [_replay(name.removeprefix(prefix), done) for name, done in found.items()]
    return sorted((one for one in replays if one), key=lambda one: (one.started_at, one.id))


class Ledger:
    """Records the progress of one replay."""

    def __init__(self, consumer: AIOKafkaConsumer, replay: Replay) -> None:
        self._consumer = consumer
        self._notes = {span.place: _note(replay, span) for span in replay.spec.spans}
        starts = {span.place: span.start for span in replay.spec.spans}
        self._reached = starts | dict(replay.reached)

    async def record(self, reached: Mapping[Partition, int]) -> None:
        """Record that everything before those offsets is done.

        All partitions are committed each time: Kafka expires each by its own last commit. A
        partition that is finished, or not started, must not expire before the others.
        """
        self._reached |= reached
        await self._consumer.commit(
            {
                TopicPartition(*place): OffsetAndMetadata(offset, self._notes[place])
                for place, offset in self._reached.items()
            }
        )


@asynccontextmanager
async def writing(settings: Settings, replay: Replay) -> AsyncIterator[Ledger]:
    """Yield the ledger of a replay; a new replay is recorded first."""
    group = settings.topics.group(f"replay.{replay.id}")
    consumer = clients.consumer(settings.model_copy(update={"instance": None}), group)
    await clients.join(settings, consumer)
    try:
        consumer.assign([TopicPartition(*span.place) for span in replay.spec.spans])
        ledger = Ledger(consumer, replay)
        if not replay.reached:
            await ledger.record({})
        yield ledger
    finally:
        await clients.leave(consumer)


def _note(replay: Replay, span: Span) -> str:
    spec = replay.spec
    of = (spec.window, spec.only, spec.archive, spec.source, spec.accounts)
    note = _Note(replay.started_at, len(spec.spans), span.start, span.end, *of)
    text = msgspec.json.encode(note).decode()
    if len(text) > _LARGEST:
        raise Problem("replay_note_too_long")
    return text


def _replay(id_: str, committed: Committed) -> Replay | None:
    notes: list[tuple[TopicPartition, int, _Note]] = []
    for place, known in committed.items():
        try:
            notes.append((place, known.offset, _decode.decode(known.metadata)))
        except msgspec.MsgspecError:
            raise Problem("not_a_replay", id=id_) from None
    if not notes:
        return None
    spans = sorted(Span(*place, note.start, note.end) for place, _, note in notes)
    note = notes[0][2]
    if len(spans) < note.partitions:
        raise Problem(
            "replay_forgotten",
            id=id_,
            forgotten=note.partitions - len(spans),
            partitions=note.partitions,
        )
    reached = {(place.topic, place.partition): offset for place, offset, _ in notes}
    of = (note.window, note.only, note.archive, note.source, note.accounts)
    spec = Spec(tuple(spans), *of)
    return Replay(id_, note.started_at, spec, reached)
