"""The records of a task, and the rest between two transactions."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.exactly_once.record_queue import Record, RecordQueue

_LONG = 3600.0


def records(first: int, count: int, size: int = 1) -> list[Record]:
    """Records of one poll, by offset; the time is the offset."""
    return [
        ConsumerRecord("observations", 0, offset, offset, 0, b"k", bytes(size), None, 1, size, ())
        for offset in range(first, first + count)
    ]


def test_small_polls_are_accepted_while_a_batch_is_under_way() -> None:
    """Otherwise a batch would have the records of two polls, however few."""
    queue = RecordQueue()
    for number in range(100):
        assert queue.accepts
        queue.add(records(number, 1))
    assert [one.offset for one in queue.take(4000)] == list(range(100))


@pytest.mark.parametrize(("count", "size"), [(1000, 1), (2, 600_000)])
def test_many_records_or_bytes_are_not_exceeded(count: int, size: int) -> None:
    """Of large polls there are two: memory is bounded."""
    queue = RecordQueue()
    queue.add(records(0, count, size))
    assert queue.accepts
    queue.add(records(count, count, size))
    assert not queue.accepts
    queue.take(2 * count)
    assert queue.accepts


@given(st.lists(st.integers(1, 30), max_size=6), st.lists(st.integers(1, 40), max_size=8))
def test_records_keep_their_order(polls: list[int], takes: list[int]) -> None:
    """However many are taken at a time, and however many of these are put back."""
    queue, end = RecordQueue(), 0
    for count in polls:
        queue.add(records(end, count))
        end += count
    reached = 0
    for most in takes:
        assert queue.oldest == (reached if reached < end else None)
        taken = queue.take(most)
        assert [one.offset for one in taken] == list(range(reached, min(reached + most, end)))
        kept = len(taken) - len(taken) // 3
        queue.put_back(taken[kept:])
        reached += kept
        assert queue.emptied == (reached + len(taken) - kept == end)
    assert bool(queue) == (reached < end)


@pytest.mark.parametrize(
    ("more", "rests"),
    [
        (lambda queue: queue.add(records(1, 999)), False),
        (lambda queue: queue.add(records(1, 1, 1024 * 1024)), False),
        (lambda queue: queue.add(records(1, 10)), True),
        (lambda queue: queue.arrived.set(), True),
    ],
    ids=["many records", "many bytes", "few records", "nothing"],
)
def test_a_rest_ends_when_there_is_much_work(
    monkeypatch: pytest.MonkeyPatch,
    more: Callable[[RecordQueue], None],
    rests: bool,  # noqa: FBT001
) -> None:
    """A few records wait; a backlog does not."""
    monkeypatch.setattr("processors.runtime.batch_size.REST_SECONDS", _LONG)

    async def resting() -> bool:
        queue = RecordQueue()
        queue.add(records(0, 1))
        rest = asyncio.create_task(queue.rest(_LONG))
        await asyncio.sleep(0)
        more(queue)
        for _ in range(5):  # steps of the event loop
            await asyncio.sleep(0)
        still = not rest.done()
        rest.cancel()
        return still

    assert asyncio.run(resting()) == rests


def test_after_a_rest_the_task_acts_on_whatever_arrived() -> None:
    """A rest is no longer than the transaction before it, and loses no wake-up."""

    async def rested() -> bool:
        queue = RecordQueue()
        await queue.rest(0.0)
        return queue.arrived.is_set()

    assert asyncio.run(rested())
