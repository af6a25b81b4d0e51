"""Archiving from a real broker: new records, deleted records, and recreated topics."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from processors.archive import reader, verify, writer
from processors.archive.catalogue import Manifest
from processors.archive.storage import Storage
from processors.runtime import log_ranges
from processors.runtime.offset_ranges import Range, Window
from processors.runtime.raw_record import RawRecord
from schemas.coordinates import Coordinates
from service.errors import Problem
from service.settings import Settings
from tests.broker.producing import Record, write

DAY = 24 * 3_600_000
BEGAN = round(time.time() * 1000) // DAY * DAY - 3 * DAY  # midnight, not yet deleted by retention


class Unwatched:
    """A progress display that shows nothing."""

    def moved(self, offsets: int, records: int, size: int) -> None:
        """Ignore the progress."""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(f"{tmp_path}/archive")


def topic_of(settings: Settings) -> str:
    return settings.topics.raw("whapi")


async def receive(settings: Settings, partition: int, times: Sequence[int]) -> None:
    """Write bodies received at those times, each one different."""
    topic = topic_of(settings)
    await write(
        settings,
        [
            Record(topic, partition, None, b"%d" % at, [("x", b"\xff"), ("x", b"")], timestamp=at)
            for at in times
        ],
    )


async def run(
    settings: Settings, storage: Storage, window: Window | None = None
) -> tuple[Manifest | None, list[Range]]:
    """Archive one provider; returns the manifest, and the gaps left by retention."""
    known = reader.catalogue(storage)
    plans = await writer.prepare(settings, known, [topic_of(settings)], window)
    made = await writer.archive(settings, storage, "whapi", plans, Unwatched())
    return made, [gone for one in plans.values() for gone in one.lost]


async def held(settings: Settings, storage: Storage) -> list[RawRecord]:
    """Return all records of the archive, in order."""
    archived = await reader.opened(storage.url)
    wanted = archived.by_time([topic_of(settings)], Window())
    await archived.verify(wanted)
    records = [record async for batch in archived.read(wanted) for record in batch.records]
    return sorted(records, key=lambda record: (record.partition, record.offset))


async def there(settings: Settings) -> list[RawRecord]:
    """Return all records that the topic has now."""
    wanted = await log_ranges.by_time(settings, [topic_of(settings)], Window())
    records = [
        record._replace(headers=list(record.headers))
        async for batch in log_ranges.read(settings, wanted)
        for record in batch.records
    ]
    return sorted(records, key=lambda record: (record.partition, record.offset))


async def delete(settings: Settings, partition: int, before: int) -> None:
    """Delete records as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    place = TopicPartition(topic_of(settings), partition)
    await admin.delete_records({place: RecordsToDelete(before)})
    await admin.close()


async def test_each_run_takes_what_is_new(settings: Settings, storage: Storage) -> None:
    """The archive returns the broker's records: bodies, headers, coordinates, times."""
    await receive(settings, 0, [BEGAN + n for n in range(30)])
    await receive(settings, 2, [BEGAN + DAY])
    await run(settings, storage)
    await receive(settings, 0, [BEGAN + DAY, BEGAN + 5])
    second, _ = await run(settings, storage)
    third, _ = await run(settings, storage)

    assert second
    assert [(file.partition, file.first, file.last) for file in second.files] == [
        (0, 30, 30),
        (0, 31, 31),
    ]
    assert third is None
    assert await held(settings, storage) == await there(settings)
    assert verify.verify(storage, lambda *_: None).sound
    archived, topic = await reader.opened(storage.url), topic_of(settings)
    assert archived.files_of(Coordinates(topic, 0, 31)) == [second.files[1].path]
    assert archived.files_of(Coordinates(topic, 0, 32)) == []


async def test_an_archive_outlives_the_log(settings: Settings, storage: Storage) -> None:
    """After the log's records are deleted, the archive is unchanged and the next run continues."""
    await receive(settings, 0, [BEGAN + n for n in range(30)])
    before = await there(settings)
    await run(settings, storage)
    await delete(settings, 0, 30)
    await receive(settings, 0, [BEGAN + 30])
    _, lost = await run(settings, storage)

    assert lost == []
    assert (await held(settings, storage))[:-1] == before


async def test_a_range_and_then_the_rest(settings: Settings, storage: Storage) -> None:
    """A range of time is archived by itself; gaps are filled while the log has them."""
    settings = settings.model_copy(
        update={"spool_max_age": 1.0}
    )  # otherwise all of them are one range
    await receive(settings, 0, [BEGAN + n * DAY // 4 for n in range(12)])
    await run(settings, storage, Window(BEGAN, BEGAN + 1))
    await run(settings, storage, Window(BEGAN + 9 * DAY // 4, None))
    gaps = reader.catalogue(storage).gaps((topic_of(settings), 0))
    assert gaps == [Range(5, 9)]
    assert not verify.verify(storage, lambda *_: None).sound

    filled, _ = await run(settings, storage)
    assert filled
    assert [(one.start, one.end) for one in filled.coverage] == [(5, 9)]
    assert await held(settings, storage) == await there(settings)


async def test_a_gap_left_by_retention_is_reported_once(
    settings: Settings, storage: Storage
) -> None:
    """A gap is reported: once by the run, always by `verify`, and a replay refuses it."""
    await receive(settings, 0, [BEGAN + n for n in range(9)])
    await run(settings, storage)
    await receive(settings, 0, [BEGAN + n for n in range(9, 20)])
    await delete(settings, 0, 15)

    made, lost = await run(settings, storage)
    assert lost == [Range(9, 15)]
    assert made
    assert [(one.start, one.end) for one in made.coverage] == [(15, 20)]
    assert (await run(settings, storage)) == (None, [])
    with pytest.raises(Problem, match=r"has a hole: .*\[0\] lacks the offsets 9-15"):
        await held(settings, storage)


@pytest.mark.parametrize("bodies", [3, 30])
async def test_a_recreated_topic_is_detected(
    settings: Settings, storage: Storage, bodies: int
) -> None:
    """Offsets that start again, fewer or more than before, are not mistaken for the old ones."""
    await receive(settings, 0, [BEGAN + n for n in range(9)])
    await run(settings, storage)
    before = storage.names()
    await recreate(settings)
    await receive(settings, 0, [BEGAN + DAY + n for n in range(bodies)])

    with pytest.raises(Problem, match=r"\[0\] is not the topic archived here: "):
        await run(settings, storage)
    assert storage.names() == before


async def recreate(settings: Settings) -> None:
    """Delete the topic and create it again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    name = topic_of(settings)
    await admin.delete_topics([name])
    while name in await admin.list_topics():
        pass  # the request to Kafka is the pause
    await admin.create_topics([NewTopic(name, settings.partitions, 1)])
    await admin.close()


async def test_a_run_that_fails_leaves_the_archive_as_it_was(
    settings: Settings, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed before its manifest has no effect; the next one archives everything."""
    await receive(settings, 0, [BEGAN + n for n in range(30)])

    def full(*_: object) -> None:
        raise Problem("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "write", full)
        with pytest.raises(Problem, match="the disk is full"):
            await run(settings, storage)
    assert reader.catalogue(storage).files == []

    await run(settings, storage)
    assert await held(settings, storage) == await there(settings)
