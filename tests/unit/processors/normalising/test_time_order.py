"""Records of several partitions in the order of their time."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from processors.normalising.time_order import Placed, TimeOrder, in_time

PATIENCE = 5.0
A, B = TopicPartition("raw", 0), TopicPartition("raw", 1)


class Record(NamedTuple):
    """The attributes that the order uses."""

    offset: int
    timestamp: int
    value: bytes | None = b""


def records(*times: int, begin: int = 0) -> list[Record]:
    return [Record(begin + number, at) for number, at in enumerate(times)]


def order(**placed: int) -> TimeOrder[Record]:
    one: TimeOrder[Record] = TimeOrder(PATIENCE)
    for name, offset in placed.items():
        one.place(A if name == "a" else B, offset)
    return one


def times(released: Sequence[Placed[Record]]) -> list[int]:
    return [record.timestamp for _, record in released]


def test_a_partition_that_is_behind_is_waited_for() -> None:
    """No record is released that may be newer than the next record of another partition."""
    one = order(a=0, b=0)
    ends = {A: 3, B: 2}
    one.add({A: records(1, 3, 5)})
    assert one.next_records(ends.get, 0) == []
    one.add({B: records(2)})
    assert times(one.next_records(ends.get, 1)) == [1, 2]
    one.add({B: records(4, begin=1)})
    assert times(one.next_records(ends.get, 2)) == [3, 4, 5]


def test_a_partition_at_its_end_is_not_waited_for() -> None:
    """Live traffic on one partition does not wait for the quiet others."""
    one = order(a=0, b=7)
    one.add({A: records(1, 3)})
    assert times(one.next_records({A: 2, B: 7}.get, 0)) == [1, 3]


def test_the_wait_has_a_time_limit() -> None:
    """A silent partition is skipped after the limit, until it has records again."""
    one = order(a=0, b=0)
    one.add({A: records(1, 2)})
    assert one.next_records({A: 3}.get, 10) == []
    assert one.next_records({A: 3}.get, 10 + PATIENCE - 0.1) == []
    assert times(one.next_records({A: 3}.get, 10 + PATIENCE)) == [1, 2]
    one.add({A: records(5, begin=2)})
    assert times(one.next_records({A: 3}.get, 20)) == [5]
    one.add({B: records(3), A: records(6, begin=3)})
    assert times(one.next_records({A: 4, B: 2}.get, 21)) == [3]
    assert one.next_records({A: 4, B: 2}.get, 22) == []


def test_removed_partitions_release_no_records() -> None:
    """After a rebalance no earlier record is released, even if its poll returns late."""
    one = order(a=0)
    one.add({A: records(1)})
    one.clear()
    one.add({A: records(1)})
    assert one.next_records({A: 1}.get, 0) == []
    one.place(A, 4)
    assert one.next_records({A: 4}.get, 0) == []


def test_a_partition_with_many_buffered_records_is_not_polled() -> None:
    """Memory is bounded."""
    one = order(a=0, b=0)
    one.add({A: records(*range(1000))})
    assert one.wanted() == [B]


def test_nor_is_a_partition_with_few_large_records() -> None:
    """The bound counts bytes: two large bodies are as much as many small ones."""
    one = order(a=0, b=0)
    large = bytes(600_000)
    one.add({A: [Record(0, 1, large), Record(1, 2, large)], B: [Record(0, 1, large)]})
    assert one.wanted() == [B]


def test_records_put_back_are_released_again_in_order() -> None:
    """They are released next, before the records read since."""
    one = order(a=0, b=0)
    ends = {A: 4, B: 2}
    one.add({A: records(1, 3, 5), B: records(2, 6)})
    released = one.next_records(ends.get, 0)
    assert times(released) == [1, 2, 3, 5]
    one.put_back(released[1:])
    one.add({A: records(7, begin=3)})
    assert times(one.next_records(ends.get, 0)) == [2, 3, 5, 6, 7]


def test_a_released_record_holds_its_place_until_it_is_done() -> None:
    """No offset behind it is committed, and the lag counts it."""
    one = order(a=10)
    assert (one.first(A), one.oldest(A)) == (10, None)
    one.add({A: records(1, 3, 5, begin=10)})
    released = one.next_records({A: 13}.get, 0)
    one.put_back(released[2:])
    assert (one.first(A), one.oldest(A)) == (10, 1)
    one.done()
    assert (one.first(A), one.oldest(A)) == (12, 5)
    one.next_records({A: 13}.get, 0)
    one.done()
    assert (one.first(A), one.oldest(A)) == (13, None)
    one.clear()
    assert one.first(A) is None


def test_records_of_removed_partitions_are_not_put_back() -> None:
    """After a rebalance another worker owns the partition."""
    one = order(a=0)
    one.add({A: records(1)})
    released = one.next_records({A: 1}.get, 0)
    one.clear()
    one.put_back(released)
    assert one.next_records({A: 1}.get, 0) == []


def test_all_records_of_several_partitions_are_merged() -> None:
    """`in_time` is for a reader that has all of them."""
    merged = in_time({A: records(1, 4), B: records(2, 3)})
    assert [record.timestamp for record in merged] == [1, 2, 3, 4]


def test_offsets_without_a_record_are_passed() -> None:
    """Only of a partition of which no record is held, and only forwards."""
    one = order(a=3)
    assert one.pass_gap(A, 5)
    assert one.first(A) == 5
    assert not one.pass_gap(A, 5)
    assert not one.pass_gap(A, 4)
    assert not one.pass_gap(B, 9)
    one.add({A: records(1, 2, begin=5)})
    assert not one.pass_gap(A, 9)
    assert times(one.next_records({A: 9}.get, 0)) == [1, 2]
    assert not one.pass_gap(A, 9)
    one.done()
    assert one.pass_gap(A, 9)


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=8).map(sorted), min_size=1, max_size=4),
    st.randoms(),
)
def test_records_are_released_in_the_order_of_time(logs: list[list[int]], random: object) -> None:
    """Sorted logs, read in any pieces, give all records sorted by time."""
    places = [TopicPartition("raw", number) for number in range(len(logs))]
    ends = {place: len(log) for place, log in zip(places, logs, strict=True)}
    left = {place: records(*log) for place, log in zip(places, logs, strict=True)}
    one: TimeOrder[Record] = TimeOrder(PATIENCE)
    for place in places:
        one.place(place, 0)
    out: list[int] = []
    while any(left.values()):
        place = random.choice([place for place in places if left[place]])  # type: ignore[attr-defined]
        count = random.randint(1, len(left[place]))  # type: ignore[attr-defined]
        one.add({place: left[place][:count]})
        left[place] = left[place][count:]
        out += times(one.next_records(ends.get, 0))
    while released := one.next_records(ends.get, 0):
        out += times(released)
    assert out == sorted(chain.from_iterable(logs))
