"""A transaction that Kafka committed in parts: each fact is still published once.

A tracker in this process writes such a transaction: the records of some topics are in a transaction
of another producer, which is aborted. All other records are in the tracker's own.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from cli.processes import Service, running
from processors.dead_letters import record as deadletters
from processors.runtime.exactly_once import transaction
from processors.runtime.exactly_once.offset_note import Note, Window
from processors.runtime.group_worker import GroupWorker
from processors.runtime.record_batches import Outbox
from processors.tracking import split_transactions
from processors.tracking.split_transactions import Split, find
from processors.tracking.tracker import Tracker
from schemas.codec import decode_event, decode_state, encode
from schemas.processor_list import TRACK
from schemas.records import Stalled, StatusObservation, message_key
from schemas.topics import partition_of
from service.kafka import clients
from service.kafka.clock import comparing
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import Read, caught_up, committed, read
from tests.broker.running_ingest import until
from tests.unit.messages import KEY, seen

PARTITION = partition_of(KEY, 3)
KEYS = [message_key("smsmanager", None, f"other-{n}") for n in range(60)]
OTHER = next(key for key in KEYS if partition_of(key, 3) == PARTITION)
NOW = round(time.time() * 1000)
MINUTE = 60_000
WARNING = "committed only parts"


class Splitting(Outbox):
    """An outbox whose records for some topics go to another transaction, which is aborted."""

    settings: Settings
    aborted: Sequence[str]

    async def send(self) -> dict[str, int | None]:
        aborted = [one for one in self._batches if one.topic in self.aborted]
        self._batches = [one for one in self._batches if one.topic not in self.aborted]
        return await super().send() | await self._abort(aborted)

    async def _abort(self, records: list[Any]) -> dict[str, int | None]:
        other = clients.producer(self.settings, f"{self.settings.namespace}.other")
        await other.start()
        await other.begin_transaction()
        outbox = Outbox(other)
        outbox._batches = records
        ends = await outbox.send()
        await other.abort_transaction()
        await other.stop()
        return ends


@asynccontextmanager
async def splitting(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    aborted: Sequence[str] = ("messages",),
) -> AsyncIterator[None]:
    """Run a tracker in this process whose transactions are all split.

    `aborted` are kinds of topics, and "group" for the offset.
    """
    monkeypatch.setattr(Splitting, "settings", settings, raising=False)
    names = [f"{settings.namespace}.{kind}" for kind in aborted]
    monkeypatch.setattr(Splitting, "aborted", names, raising=False)
    stop = asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "Outbox", Splitting)
        if "group" in aborted:
            patch.setattr(AIOKafkaProducer, "send_offsets_to_transaction", _send_no_offset)
        async with comparing(settings, lambda _: None):
            run = asyncio.create_task(GroupWorker(TRACK, settings, Tracker).run(stop))
            try:
                yield
            finally:
                stop.set()
                await run


async def _send_no_offset(*_: object) -> None:
    pass


async def track_to_the_end(settings: Settings) -> list[str]:
    """Run a tracker to the end of its input; returns its log lines."""
    lines: list[str] = []
    service = Service("track", settings.health_port("track"))
    async with running(settings, [service], lambda _, line: lines.append(line)):
        await caught_up(settings.kafka, settings.topics)
    return lines


def observed(settings: Settings, one: StatusObservation | None) -> Record:
    """Return a record of `observations`; None makes one that is not an observation."""
    key, value = (one.message_key, encode(one)) if one else (KEY, b"not an observation")
    return Record(settings.topics.observations, PARTITION, key.encode(), value)


async def _reached(settings: Settings, offset: int) -> bool:
    topics = settings.topics
    found = await committed(settings.kafka, topics.group("track"), topics.observations)
    return found[PARTITION] == offset


def _ids(records: list[Read]) -> Counter[bytes]:
    return Counter(record.headers["ce_id"] for record in records)


@pytest.mark.parametrize("store", ["kept", "lost"])
@pytest.mark.long
async def test_a_fact_whose_state_was_lost_is_published_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """Statuses, events and dead letters are published once, and the states have all facts."""
    topics = settings.topics
    first = [seen("queued", NOW), seen("sent", NOW + 1)]
    lost = [seen("delivered", NOW + 2), None, seen("sent", NOW + 3, message_key=OTHER)]
    await write(settings, [observed(settings, one) for one in first])
    await track_to_the_end(settings)

    await write(settings, [observed(settings, one) for one in lost])
    async with splitting(settings, monkeypatch):
        await until(lambda: _reached(settings, 5))
    statuses = await read(settings.kafka, topics.statuses)
    assert len(statuses) == 4, "the outputs are visible"
    states = await read(settings.kafka, topics.messages)
    assert {state.key for state in states} == {KEY}, "the states are not"

    # Most of the reports are repeated, and another one follows.
    repeated = [*first, *lost[:1], seen("read", NOW + 4)]
    await write(settings, [observed(settings, one) for one in repeated])
    data = settings.data if store == "kept" else settings.data / "empty"
    lines = await track_to_the_end(settings.model_copy(update={"data": data}))

    statuses = await read(settings.kafka, topics.statuses)
    assert len(statuses) == 5
    assert set(_ids(statuses).values()) == {1}
    assert set(_ids(await read(settings.kafka, topics.events)).values()) == {1}
    [letter] = await read(settings.kafka, topics.dead_letters)
    assert letter.headers[deadletters.OBSERVED].endswith(f"/{PARTITION}/3".encode())
    newest = {r.key: decode_state(r.value) for r in await read(settings.kafka, topics.messages)}
    assert {key: state.status for key, state in newest.items()} == {KEY: "read", OTHER: "sent"}
    assert set(newest[KEY].attempts["sms"].facts) == {"queued", "sent", "delivered", "read"}
    [warning] = [line for line in lines if WARNING in line]
    assert "tracked again from offset 2, without the 5 outputs" in warning

    # All states are complete now.
    await write(settings, [observed(settings, one) for one in repeated])
    assert not [line for line in await track_to_the_end(settings) if WARNING in line]
    assert len(await read(settings.kafka, topics.statuses)) == 5


@pytest.mark.parametrize(
    ("aborted", "store"),
    [
        (("statuses", "events", "group"), "kept"),
        (("statuses", "events", "group"), "lost"),
        (("events",), "kept"),
        (("dead-letters", "group"), "lost"),
        (("group",), "kept"),
    ],
    ids=["all but the states", "with another store", "events", "dead letter, offset", "offset"],
)
@pytest.mark.long
async def test_a_fact_whose_outputs_were_lost_is_published_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, aborted: Sequence[str], store: str
) -> None:
    """Its state is visible, so a restore would make the fact known, and lose its outputs."""
    topics = settings.topics
    await write(settings, [observed(settings, seen("queued", NOW))])
    await track_to_the_end(settings)

    split = [seen("sent", NOW + 1), None, seen("sent", NOW + 2, message_key=OTHER)]
    await write(settings, [observed(settings, one) for one in split])
    async with splitting(settings, monkeypatch, aborted):
        await until(lambda: _has_state(settings, OTHER))

    await write(settings, [observed(settings, seen("read", NOW + 4))])
    data = settings.data if store == "kept" else settings.data / "empty"
    lines = await track_to_the_end(settings.model_copy(update={"data": data}))
    assert any(WARNING in line for line in lines)

    statuses = _ids(await read(settings.kafka, topics.statuses))
    events = _ids(await read(settings.kafka, topics.events))
    assert (len(statuses), len(events)) == (4, 4)
    assert {*statuses.values(), *events.values()} == {1}
    [letter] = await read(settings.kafka, topics.dead_letters)
    assert letter.headers[deadletters.OBSERVED].endswith(f"/{PARTITION}/2".encode())

    states = [one for one in await read(settings.kafka, topics.messages) if one.key == OTHER]
    assert [bool(one.value) for one in states] == [True, False, True], "the state before is written"

    # The offset and the states are complete now, whatever the next store restores.
    again = settings.model_copy(update={"data": settings.data / "another"})
    assert not [line for line in await track_to_the_end(again) if WARNING in line]
    assert _ids(await read(settings.kafka, topics.statuses)) == statuses


async def _has_state(settings: Settings, key: str) -> bool:
    return any(one.key == key for one in await read(settings.kafka, settings.topics.messages))


@pytest.mark.long
async def test_an_alarm_whose_state_was_lost_is_published_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of timers commits no offset; its visible events show the lost states."""
    settings = settings.model_copy(update={"timer_grace": 0.0})
    late = settings.model_copy(update={"timer_grace": 3600.0})
    await write(settings, [observed(settings, seen("queued", NOW - 11 * MINUTE))])
    await track_to_the_end(late)

    async with splitting(settings, monkeypatch):
        await until(lambda: _alarms(settings, 1))
    [state] = await read(settings.kafka, settings.topics.messages)
    assert b"stalled_since" not in state.value

    lines: list[str] = []
    service = Service("track", settings.health_port("track"))
    async with running(settings, [service], lambda _, line: lines.append(line)):
        await until(lambda: _knows_alarm(settings))
    assert [line for line in lines if WARNING in line]
    assert await _alarms(settings, 1)


async def _alarms(settings: Settings, count: int) -> bool:
    events = [decode_event(r.value) for r in await read(settings.kafka, settings.topics.events)]
    return sum(isinstance(one, Stalled) for one in events) == count


async def _knows_alarm(settings: Settings) -> bool:
    states = await read(settings.kafka, settings.topics.messages)
    return b"stalled_since" in states[-1].value


async def test_outputs_newer_than_the_newest_state_are_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, including those of the window; too many belong to several transactions."""
    topics = settings.topics
    source = TopicPartition(topics.observations, PARTITION)
    outputs = [
        Record(topic, PARTITION, b"key", b"{}", [("ce_id", b"%d" % number)], NOW + number)
        for number, topic in enumerate([topics.statuses, topics.events, topics.inbound] * 2)
    ]
    await write(settings, outputs)
    await write(settings, [observed(settings, None)] * 5)

    found = await find(settings, source, 4, Note(NOW + 5, NOW + 5, 2), NOW + 2)
    assert found.seen == {b"key#3", b"key#4", b"key#5"}
    assert (found.offset, found.note.window) == (2, Window(NOW + 3, NOW + 5))

    again = await find(settings, source, 4, found.note, NOW + 5)
    assert again == found._replace(offset=4, repaired_to=0)

    monkeypatch.setattr(split_transactions, "_MOST", 2)
    assert await find(settings, source, 4, found.note, NOW + 2) == Split(
        4, Note(NOW + 5, NOW + 5, 2)
    )
