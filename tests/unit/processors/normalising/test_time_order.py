"""Records of several partitions in the order of their time."""

from collections.abc import Mapping
from itertools import chain
from typing import NamedTuple

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from processors.normalising.time_order import InTime, in_time

PATIENCE = 5.0
A, B = TopicPartition("raw", 0), TopicPartition("raw", 1)


class Record(NamedTuple):
    """What the order looks at."""

    offset: int
    timestamp: int
    value: bytes | None = b""


def records(*times: int, begin: int = 0) -> list[Record]:
    return [Record(begin + number, at) for number, at in enumerate(times)]


def order(**placed: int) -> InTime[Record]:
    one: InTime[Record] = InTime(PATIENCE)
    for name, offset in placed.items():
        one.place(A if name == "a" else B, offset)
    return one


def times(taken: Mapping[TopicPartition, list[Record]]) -> list[int]:
    return [record.timestamp for record in in_time(taken)]


def test_a_partition_with_more_to_come_is_waited_for() -> None:
    """Nothing is taken that could be older than what comes next of another partition."""
    one = order(a=0, b=0)
    ends = {A: 3, B: 2}
    one.add({A: records(1, 3, 5)})
    assert one.take(ends.get, 0) == {}
    one.add({B: records(2)})
    assert times(one.take(ends.get, 1)) == [1, 2]
    one.add({B: records(4, begin=1)})
    assert times(one.take(ends.get, 2)) == [3, 4, 5]


def test_a_partition_at_its_end_is_not() -> None:
    """Live traffic on one partition does not wait for the quiet others."""
    one = order(a=0, b=7)
    one.add({A: records(1, 3)})
    assert times(one.take({A: 2, B: 7}.get, 0)) == [1, 3]


def test_nobody_is_waited_for_without_end() -> None:
    """A silent partition is left behind after a while, until something comes of it."""
    one = order(a=0, b=0)
    one.add({A: records(1, 2)})
    assert one.take({A: 3}.get, 10) == {}
    assert one.take({A: 3}.get, 10 + PATIENCE - 0.1) == {}
    assert times(one.take({A: 3}.get, 10 + PATIENCE)) == [1, 2]
    one.add({A: records(5, begin=2)})
    assert times(one.take({A: 3}.get, 20)) == [5]
    one.add({B: records(3), A: records(6, begin=3)})
    assert times(one.take({A: 4, B: 2}.get, 21)) == [3]
    assert one.take({A: 4, B: 2}.get, 22) == {}


def test_what_was_forgotten_does_not_come() -> None:
    """After a rebalance nothing of before is taken, whenever its poll comes back."""
    one = order(a=0)
    one.add({A: records(1)})
    one.clear()
    one.add({A: records(1)})
    assert one.take({A: 1}.get, 0) == {}
    one.place(A, 4)
    assert one.take({A: 4}.get, 0) == {}


def test_what_is_in_hand_is_not_read_on() -> None:
    """A partition with much in hand is not asked for more: memory has an end."""
    one = order(a=0, b=0)
    one.add({A: records(*range(1000))})
    assert one.wanted() == [B]


def test_nor_are_few_large_ones() -> None:
    """Memory is bytes: two large bodies are as much as many small ones."""
    one = order(a=0, b=0)
    large = bytes(600_000)
    one.add({A: [Record(0, 1, large), Record(1, 2, large)], B: [Record(0, 1, large)]})
    assert one.wanted() == [B]


def test_what_is_put_back_comes_again_in_its_order() -> None:
    """Whoever could not do with all of it gets the rest next, before what was read since."""
    one = order(a=0, b=0)
    ends = {A: 4, B: 2}
    one.add({A: records(1, 3, 5), B: records(2, 6)})
    taken = one.take(ends.get, 0)
    assert times(taken) == [1, 2, 3, 5]
    one.put_back({A: taken[A][1:], B: taken[B]})
    one.add({A: records(7, begin=3)})
    assert times(one.take(ends.get, 0)) == [2, 3, 5, 6, 7]


def test_what_was_forgotten_is_not_put_back() -> None:
    """After a rebalance another worker has it."""
    one = order(a=0)
    one.add({A: records(1)})
    taken = one.take({A: 1}.get, 0)
    one.clear()
    one.put_back(taken)
    assert one.take({A: 1}.get, 0) == {}


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=8).map(sorted), min_size=1, max_size=4),
    st.randoms(),
)
def test_however_it_is_read_the_order_is_that_of_time(
    logs: list[list[int]], random: object
) -> None:
    """Sorted logs, read in any pieces, come out sorted, whole, and each in its own order."""
    places = [TopicPartition("raw", number) for number in range(len(logs))]
    ends = {place: len(log) for place, log in zip(places, logs, strict=True)}
    left = {place: records(*log) for place, log in zip(places, logs, strict=True)}
    one: InTime[Record] = InTime(PATIENCE)
    for place in places:
        one.place(place, 0)
    out: list[int] = []
    while any(left.values()):
        place = random.choice([place for place in places if left[place]])  # type: ignore[attr-defined]
        count = random.randint(1, len(left[place]))  # type: ignore[attr-defined]
        one.add({place: left[place][:count]})
        left[place] = left[place][count:]
        out += times(one.take(ends.get, 0))
    while taken := one.take(ends.get, 0):
        out += times(taken)
    assert out == sorted(chain.from_iterable(logs))
