"""Reading partitions to their ends on a real Kafka."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from service.errors import Problem
from service.kafka import clients, read_to_end
from service.kafka.read_to_end import first_record
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.running_ingest import until


@pytest.fixture
def places(settings: Settings) -> list[TopicPartition]:
    return [TopicPartition(settings.topics.messages, number) for number in range(3)]


@pytest.fixture
async def client(
    settings: Settings, places: list[TopicPartition]
) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader at the beginning of the partitions."""
    async with clients.reading(settings) as client:
        client.assign(places)
        for place in places:
            client.seek(place, 0)
        yield client


async def _write(settings: Settings, place: TopicPartition, count: int) -> None:
    await write(settings, [Record(place.topic, place.partition, b"k", b"v")] * count)


async def _transact(settings: Settings, place: TopicPartition, *, commit: bool) -> None:
    """Write a record and a marker."""
    producer = clients.producer(settings, settings.topics.transactional_id(place.partition))
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(place.topic, b"v", key=b"k", partition=place.partition)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def _read(
    client: AIOKafkaConsumer, ends: dict[TopicPartition, int]
) -> tuple[dict[TopicPartition, list[int]], dict[TopicPartition, int]]:
    """Return the offsets of the records, and the position in each partition."""
    offsets: dict[TopicPartition, list[int]] = {place: [] for place in ends}
    reached: dict[TopicPartition, int] = {}
    async for read in read_to_end.read_to_end(client, ends):
        for place, records in read.records.items():
            offsets[place] += [record.offset for record in records]
        reached |= read.reached
    return offsets, reached


async def test_every_record_before_the_end_comes_once(
    settings: Settings, client: AIOKafkaConsumer, places: list[TopicPartition]
) -> None:
    """Records at and after the end are left for a later read, which continues there."""
    a, b, empty = places
    await _write(settings, a, 5000)
    await _write(settings, b, 10)
    assert await _read(client, {a: 4500, b: 7, empty: 0}) == (
        {a: list(range(4500)), b: list(range(7)), empty: []},
        {a: 4500, b: 7},
    )
    for place, at in ((a, 4500), (b, 7)):
        client.seek(place, at)
    assert await _read(client, {a: 5000, b: 10, empty: 0}) == (
        {a: list(range(4500, 5000)), b: [7, 8, 9], empty: []},
        {a: 5000, b: 10},
    )


async def test_a_log_may_end_in_markers_and_in_aborted_records(
    settings: Settings, client: AIOKafkaConsumer, places: list[TopicPartition]
) -> None:
    """The position passes both, although no further record reaches the end."""
    committed, aborted, _ = places
    await _transact(settings, committed, commit=True)
    await _transact(settings, aborted, commit=False)
    ends = {committed: 2, aborted: 2}

    async def marked() -> bool:  # markers are written after the end is acknowledged
        return dict(await client.end_offsets([committed, aborted])) == ends

    await until(marked)
    assert await _read(client, ends) == ({committed: [0], aborted: []}, ends)
    assert await first_record(client, aborted, 0, ends[aborted]) is None
    found = await first_record(client, committed, 0, ends[committed])
    assert found is not None
    assert found.offset == 0


async def test_a_read_without_progress_is_bounded(
    settings: Settings, places: list[TopicPartition], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that does not reach its end is reported, though Kafka answers others."""
    monkeypatch.setattr(read_to_end, "SILENCE_SECONDS", 0)
    await _write(settings, places[0], 2)
    with pytest.raises(
        Problem, match=r"Kafka answers at .*, but a request failed \(TimeoutError\)"
    ):
        await _read_three(settings, places[0])


async def _read_three(settings: Settings, place: TopicPartition) -> None:
    async with clients.reading(settings) as client:
        client.assign([place])
        client.seek(place, 0)
        await _read(client, {place: 3})
