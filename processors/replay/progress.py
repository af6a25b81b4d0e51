"""The replays there are: what each is to do and how far it is, kept as consumer groups on Kafka.

A replay's group has, for each partition of its range, the offset that is done as its committed
offset and the rest as the commit's metadata. So whoever knows the id can go on, from anywhere.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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

_ID = re.compile(r"[A-Za-z0-9._-]{1,60}")
# The broker's offset.metadata.max.bytes is 4096 unless somebody made it less.
_LARGEST = 4000


class Spec(NamedTuple):
    """What a replay is to do; `archive` is where its bodies are, if not in the log.

    With a `source` only bodies that came in under its name are meant. `accounts` is the fingerprint
    of the accounts that are permitted beside those at reception.
    """

    spans: tuple[Span, ...]
    window: Window = Window()
    only: Only | None = None
    archive: str | None = None
    source: str | None = None
    accounts: str | None = None


class Replay(NamedTuple):
    """A replay as Kafka knows it; `started_at` is Unix milliseconds."""

    id: str
    started_at: int
    spec: Spec
    reached: Mapping[Partition, int]

    @property
    def command(self) -> str:
        """The command that does what is left."""
        accounts = " --accounts FILE" if self.spec.accounts else ""
        return f"bluetick replay run --yes --id {self.id}{accounts}"

    @property
    def left(self) -> list[Span]:
        return remaining(self.spec.spans, self.reached)


class _Note(msgspec.Struct, omit_defaults=True):
    """The metadata of one partition's commit; `partitions` is how many the range has."""

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
    """The id, if it may be one; raises `Problem`."""
    if not _ID.fullmatch(id_):
        raise Problem(f"{id_!r} cannot be a replay's id; it is 1 to 60 of A-Z a-z 0-9 . _ -")
    return id_


async def find(settings: Settings, id_: str) -> Replay | None:
    """The replay of that id, if there is one."""
    return _replay(
        id_, await consumer_groups.committed(settings, settings.topics.group(f"replay.{id_}"))
    )


async def known(settings: Settings) -> list[Replay]:
    """All replays Kafka still knows of, the latest last."""
    prefix = settings.topics.group("replay.")
    found = await consumer_groups.begun_with(settings, prefix)
    replays = [_replay(name.removeprefix(prefix), done) for name, done in found.items()]
    return sorted((one for one in replays if one), key=lambda one: (one.started_at, one.id))


class Ledger:
    """Where one replay writes down what is done."""

    def __init__(self, consumer: AIOKafkaConsumer, replay: Replay) -> None:
        self._consumer = consumer
        self._notes = {span.place: _note(replay, span) for span in replay.spec.spans}
        starts = {span.place: span.start for span in replay.spec.spans}
        self._reached = starts | dict(replay.reached)

    async def record(self, reached: Mapping[Partition, int]) -> None:
        """Note that everything before those offsets is done.

        All partitions at once: Kafka forgets each by the time of its own last commit, and one that
        is done or has yet to begin must not be forgotten while the others go on.
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
    """A ledger to write to; a replay that is not in it yet is entered."""
    group = settings.topics.group(f"replay.{replay.id}")
    consumer = clients.consumer(settings.model_copy(update={"instance": None}), group)
    await clients.join(consumer)
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
        raise Problem(
            "what --only, --archive and --source say is too long to be kept with the progress"
        )
    return text


def _replay(id_: str, committed: Committed) -> Replay | None:
    notes: list[tuple[TopicPartition, int, _Note]] = []
    for place, known in committed.items():
        try:
            notes.append((place, known.offset, _decode.decode(known.metadata)))
        except msgspec.MsgspecError:
            raise Problem(
                f"the group of the replay {id_} holds something else than a replay; it was "
                "written by another program, or another version of Bluetick: choose another id"
            ) from None
    if not notes:
        return None
    spans = sorted(Span(*place, note.start, note.end) for place, _, note in notes)
    note = notes[0][2]
    if len(spans) < note.partitions:
        raise Problem(
            f"Kafka has forgotten {note.partitions - len(spans)} of the {note.partitions} "
            f"partitions of the replay {id_} (offsets.retention.minutes); replay its range anew, "
            "under another id"
        )
    reached = {(place.topic, place.partition): offset for place, offset, _ in notes}
    of = (note.window, note.only, note.archive, note.source, note.accounts)
    spec = Spec(tuple(spans), *of)
    return Replay(id_, note.started_at, spec, reached)
