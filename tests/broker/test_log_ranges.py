"""Ranges of the raw topics: their offsets, the records read, and invalid ranges."""

import time
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from processors.runtime import log_ranges
from processors.runtime.offset_ranges import Span, Window, remaining
from processors.runtime.raw_record import RawRecord
from schemas.coordinates import Partition
from service.errors import Problem
from service.settings import Settings
from tests.broker.producing import Record, write

DAY = 24 * 3_600_000
BEGAN = round(time.time() * 1000) - 3 * DAY  # not yet deleted by retention


async def received(settings: Settings, partition: int, times: Sequence[int]) -> str:
    """Write bodies received at those times, in that order; returns the topic."""
    topic = settings.topics.raw("whapi")
    bodies = [Record(topic, partition, None, b"{}", timestamp=time) for time in times]
    await write(settings, bodies)
    return topic


async def records(settings: Settings, wanted: Sequence[Span]) -> list[RawRecord]:
    return [record async for batch in log_ranges.read(settings, wanted) for record in batch.records]


async def test_a_range_by_time_includes_spooled_bodies(settings: Settings) -> None:
    """A body that reached Kafka hours after its reception is in the range of its reception."""
    hour = DAY // 24
    settings = settings.model_copy(update={"spool_max_age": 7200.0})
    spooled = 2 * hour + DAY
    times = [BEGAN, BEGAN + 1, BEGAN + hour, BEGAN + 1, BEGAN + hour + spooled, BEGAN + 1]
    topic = await received(settings, 1, times)
    window = Window(BEGAN + 1, BEGAN + hour)

    wanted = await log_ranges.by_time(settings, [topic], window)

    # Records beyond the spool's largest age after the end are not read.
    assert wanted == [Span(topic, 1, 1, 4)]
    found = [r.offset for r in await records(settings, wanted) if window.holds(r.timestamp)]
    assert found == [1, 3]


async def test_many_partitions_are_read_each_in_order(settings: Settings) -> None:
    """Each record of each span is read once and in order, and the positions match."""
    for partition in range(3):
        topic = await received(settings, partition, [BEGAN + n for n in range(5000)])
    wanted = await log_ranges.by_offsets(settings, topic, {0: (10, 5000), 2: (0, 4999)})

    reached: dict[Partition, int] = {}
    seen: list[tuple[int, int]] = []
    async for batch in log_ranges.read(settings, wanted):
        seen += [(record.partition, record.offset) for record in batch.records]
        reached |= batch.reached
        assert reached == {
            (topic, p): max(o for q, o in seen if q == p) + 1 for p in {q for q, _ in seen}
        }

    assert [o for p, o in seen if p == 0] == list(range(10, 5000))
    assert [o for p, o in seen if p == 2] == list(range(4999))
    assert {p for p, _ in seen} == {0, 2}
    assert remaining(wanted, reached) == []


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ({1: (0, 4)}, r"\[1\] does not hold all of 0-4; there is: .* has offsets 2 to 5, \d{4}-"),
        ({1: (3, 7)}, r"does not hold all of 3-7"),
        ({1: (4, 4)}, "the range 4-4 of .* is empty"),
        ({9: (0, 1)}, r"there is no .*\[9\]: the topic's last partition is 2"),
        ({0: (0, 1)}, "does not hold all of 0-1; nothing is there"),
    ],
)
async def test_offsets_outside_of_the_log_are_reported(
    settings: Settings, offsets: dict[int, tuple[int, int]], expected: str
) -> None:
    """The sentence has the available offsets."""
    topic = await cut(settings)
    with pytest.raises(Problem, match=expected):
        await log_ranges.by_offsets(settings, topic, offsets)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(BEGAN + 1, None), "no longer holds everything since .*; begin at .* or later"),
        (
            Window(BEGAN + 6, None),
            r"no body was received in that range; there is: .* 2 to 5, \d{4}-",
        ),
        (Window(None, BEGAN - 5 * DAY), "no body was received in that range"),
        (Window(BEGAN + 3, BEGAN + 3), "which is not before its end"),
    ],
)
async def test_times_outside_of_the_log_are_reported(
    settings: Settings, window: Window, expected: str
) -> None:
    """The same for times; a range that retention deleted in part is refused."""
    topic = await cut(settings)
    with pytest.raises(Problem, match=expected):
        await log_ranges.by_time(settings, [topic], window)


async def test_a_range_without_bounds_is_the_whole_log(settings: Settings) -> None:
    """Without bounds the range begins at the first record of the log."""
    topic = await cut(settings)
    assert await log_ranges.by_time(settings, [topic], Window()) == [Span(topic, 1, 2, 6)]


async def cut(settings: Settings) -> str:
    """Write six bodies to partition 1 and delete two like retention; returns the topic."""
    topic = await received(settings, 1, [BEGAN + number for number in range(6)])
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(2)})
    await admin.close()
    return topic
