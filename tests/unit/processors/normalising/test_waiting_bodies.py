"""Bodies that wait while bodies of other sources overtake them."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from processors.dead_letters.limit import Source
from processors.normalising.time_order import Placed, TimeOrder
from processors.normalising.waiting_bodies import (
    FEW,
    LONGEST_PAUSE_SECONDS,
    MOST_WAITING_BYTES,
    PAUSE_SECONDS,
    PAUSE_SHARE,
    USUAL_BYTES,
    Waiting,
    WaitingBodies,
    is_large,
    next_offset,
    pause_after,
)
from processors.runtime.raw_record import RawRecord

P = TopicPartition("raw", 0)
ONE, TWO, THREE = (Source("whapi", name) for name in ("one", "two", "three"))


class Record(NamedTuple):
    """The attributes that are used, the source, and whether the body is large."""

    offset: int
    timestamp: int = 0
    value: bytes | None = b""
    source: Source = ONE
    large: bool = False


def taken(waiting: WaitingBodies[Record], seconds: float = 0.0) -> list[tuple[Source, int]]:
    """Take all bodies; each takes `seconds`."""
    out = []
    while found := waiting.take():
        waiting.used(found.source, seconds, 0, 0)
        waiting.published(found)
        waiting.done()
        out.append((found.source, found.record.offset))
    return out


def waiting_of(*records: tuple[Source, int]) -> WaitingBodies[Record]:
    waiting: WaitingBodies[Record] = WaitingBodies()
    for source, offset in records:
        waiting.add(source, (P, Record(offset, 1000 + offset)))
    return waiting


@pytest.mark.parametrize(
    ("keys", "took", "seconds"),
    [
        ([], 0.1, 0),
        ([None] * 500, 0.1, 0),  # dead letters
        ([b"a"] * FEW, 0.1, 0),
        ([b"%d" % number for number in range(5000)], 0.1, 0),  # each of another message
        ([b"a"] * (FEW + 10) + [b"b"] * 7, 0.0, 10 * PAUSE_SECONDS),
        ([b"a"] * 1300, 0.04, 1200 * PAUSE_SECONDS),
        ([b"a"] * 1300, 0.4, 0.4 * PAUSE_SHARE * 1200 / 1300),  # on a busy machine
        ([b"a"] * 1300, 9.0, LONGEST_PAUSE_SECONDS),
        ([b"a"] * (FEW + 1) + [b"%d" % n for n in range(999)], 0.4, 0.4 * PAUSE_SHARE / 1100),
    ],
)
def test_the_pause_after_a_body(keys: Sequence[bytes | None], took: float, seconds: float) -> None:
    """Only many observations of one message make a source pause."""
    assert pause_after(keys, took) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("body", "headers", "large"),
    [
        (None, [], False),
        (bytes(USUAL_BYTES), [("ce_source", b"/webhooks/whapi")], False),
        (bytes(USUAL_BYTES + 1), [], True),
        (b"x", [("ce_id", b"1"), ("content-encoding", b"gzip")], True),
    ],
)
def test_which_bodies_are_large(
    body: bytes | None,
    headers: list[tuple[str, bytes]],
    large: bool,  # noqa: FBT001
) -> None:
    """A compressed body counts as large: its size says little."""
    assert is_large(RawRecord("raw", 0, 0, 0, headers, body)) == large


def test_a_source_waits_behind_its_own_bodies_only() -> None:
    """Other sources overtake."""
    waiting = waiting_of((ONE, 3))
    assert waiting.holds(ONE)
    assert not waiting.holds(TWO)
    assert taken(waiting) == [(ONE, 3)]
    assert not waiting
    assert not waiting.holds(ONE)


def test_the_source_that_used_the_least_time_is_next() -> None:
    """One expensive body gives way to all cheap ones that together take as long."""
    waiting = waiting_of((ONE, 1), (ONE, 2), (TWO, 3), (TWO, 4), (TWO, 5))
    first = waiting.take()
    assert first is not None
    assert first.source == ONE
    waiting.used(ONE, 2.5, 0, 0)
    assert taken(waiting, seconds=1) == [(TWO, 3), (TWO, 4), (TWO, 5), (ONE, 2)]


def test_time_without_bodies_is_no_credit() -> None:
    """A source that comes later does not go before the others for as long as they worked."""
    waiting = waiting_of(*[(ONE, offset) for offset in range(10)])
    for _ in range(5):
        found = waiting.take()
        assert found is not None
        waiting.used(ONE, 1, 0, 0)
    for offset in range(10, 15):
        waiting.add(TWO, (P, Record(offset)))
    assert [source for source, _ in taken(waiting, seconds=1)][:4] == [TWO, ONE, TWO, ONE]


def test_a_source_pauses() -> None:
    """Its later bodies wait until the pause is over, also if none waits yet."""
    waiting = waiting_of((ONE, 1), (ONE, 2), (TWO, 3))
    assert waiting.wait_seconds(100) == 0
    assert waiting.take() is not None
    waiting.used(ONE, 0.1, 5, 100)
    assert taken(waiting) == [(TWO, 3)]
    assert waiting.wait_seconds(101) == 4
    waiting.resume(104.9)
    assert waiting.take() is None
    waiting.resume(105)
    assert taken(waiting) == [(ONE, 2)]
    assert waiting.wait_seconds(105) is None
    waiting.used(ONE, 0.1, 5, 105)
    assert waiting.holds(ONE)
    waiting.done()
    waiting.resume(111)
    assert not waiting


def test_a_full_memory_ends_the_pauses() -> None:
    """Then nothing is read any more, so nobody gains from a pause."""
    waiting: WaitingBodies[Record] = WaitingBodies()
    waiting.used(ONE, 0.1, 60, 0)
    half = bytes(MOST_WAITING_BYTES // 2)
    waiting.add(ONE, (P, Record(1, value=half)))
    assert not waiting.full
    assert waiting.take() is None
    waiting.add(ONE, (P, Record(2, value=half)))
    assert waiting.full
    assert waiting.wait_seconds(1) == 0
    body = waiting.take()
    assert body is not None
    waiting.published(body)
    assert not waiting.full
    assert waiting.take() is None


def test_a_taken_body_still_holds_its_place() -> None:
    """Its offset is not committed before it is published; its source waits until it is done."""
    waiting = waiting_of((ONE, 3), (TWO, 5))
    body = waiting.take()
    assert body is not None
    assert (waiting.first(P), waiting.oldest(P)) == (3, 1003)
    waiting.published(body)
    assert waiting.first(P) == 5
    assert waiting.holds(ONE)
    waiting.done()
    assert not waiting.holds(ONE)


def test_a_body_of_an_earlier_assignment_changes_nothing() -> None:
    """A round that lasts beyond a rebalance publishes bodies that are no longer its own."""
    waiting = waiting_of((ONE, 3))
    body = waiting.take()
    assert body is not None
    waiting.clear()
    waiting.published(body)
    waiting.done()
    assert not waiting
    waiting.add(ONE, (P, Record(3)))
    assert waiting.first(P) == 3


def test_bodies_of_a_removed_partition_do_not_come() -> None:
    """It is read again from its committed offset, or by another worker."""
    other = TopicPartition("raw", 1)
    waiting = waiting_of((ONE, 1), (TWO, 2))
    waiting.add(ONE, (other, Record(7, 77)))
    waiting.remove(P)
    assert waiting.first(P) is None
    assert waiting.oldest(P) is None
    assert (waiting.first(other), waiting.oldest(other)) == (7, 77)
    assert not waiting.holds(TWO)
    assert taken(waiting) == [(ONE, 7)]
    waiting = waiting_of((ONE, 1))
    waiting.clear()
    assert taken(waiting) == []


SOURCES = st.sampled_from([ONE, TWO, THREE])
LOGS = st.lists(st.lists(st.tuples(SOURCES, st.booleans()), max_size=12), min_size=1, max_size=3)


class Rounds:
    """The rounds of a normaliser over logs, and the offsets that it commits."""

    def __init__(self, logs: list[list[tuple[Source, bool]]]) -> None:
        self.ends = {TopicPartition("raw", number): len(log) for number, log in enumerate(logs)}
        self.committed = dict.fromkeys(self.ends, 0)
        self.normalised: list[Placed[Record]] = []
        self._order: TimeOrder[Record] = TimeOrder(5.0)
        self._taken: list[Waiting[Record]] = []
        self._waiting: WaitingBodies[Record] = WaitingBodies()
        self._logs = {
            place: [Record(n, n, b"", *one) for n, one in enumerate(log)]
            for place, log in zip(self.ends, logs, strict=True)
        }
        self.assign()

    def assign(self) -> None:
        """Begin at the committed offsets."""
        for place, log in self._logs.items():
            self._order.place(place, self.committed[place])
            if rest := log[self.committed[place] :]:
                self._order.add({place: rest})

    def revoke(self) -> None:
        """Forget all bodies that are not committed; the rounds under way go on."""
        self._order.clear()
        self._waiting.clear()

    def usual(self, most: int, meanwhile: Callable[[], None]) -> None:
        """Take up to `most` of the next records."""
        ready = self._order.next_records(self.ends.get, 0)
        normalised: list[Placed[Record]] = []
        for place, record in ready[:most]:
            if record.large or self._waiting.holds(record.source):
                self._waiting.add(record.source, (place, record))
            else:
                normalised.append((place, record))
        self._order.put_back(ready[most:])
        meanwhile()
        self.normalised += normalised
        self._order.done()
        self._commit(ready[:most])

    def take(self, *seconds: int) -> None:
        """Begin a round of waiting bodies: one for each of these, the time that it takes."""
        for each in seconds:
            if found := self._waiting.take():
                self._waiting.used(found.source, each, 0, 0)
                self._taken.append(found)

    def publish(self) -> None:
        """End the round of waiting bodies."""
        for found in self._taken:
            self.normalised.append((found.partition, found.record))
            self._waiting.published(found)
        self._commit([(found.partition, found.record) for found in self._taken])
        self._waiting.done()
        self._taken = []

    def _commit(self, taken: Sequence[Placed[Record]]) -> None:
        for place in {place for place, _ in taken}:
            after = next_offset(place, self._waiting, self._order)
            if after is None:
                continue
            assert after >= self.committed[place]
            self.committed[place] = after
            done = {record.offset for at, record in self.normalised if at == place}
            assert done >= set(range(after))


SECONDS = st.lists(st.integers(0, 3), min_size=1, max_size=3)
ROUNDS = st.lists(st.tuples(st.integers(1, 3), SECONDS), min_size=6, max_size=20)


@given(LOGS, ROUNDS)
def test_no_offset_is_committed_before_its_body_is_normalised(
    logs: list[list[tuple[Source, bool]]], rounds: list[tuple[int, list[int]]]
) -> None:
    """In any rounds, each body is normalised once, a source's bodies of a partition in order."""
    normaliser = Rounds(logs)
    for most, seconds in [*rounds, *[(100, [1] * 100)] * 10]:
        normaliser.take(*seconds)
        normaliser.usual(most, meanwhile=normaliser.publish)
    assert normaliser.committed == normaliser.ends
    by_source: dict[tuple[TopicPartition, Source], list[int]] = {}
    for place, record in normaliser.normalised:
        by_source.setdefault((place, record.source), []).append(record.offset)
    assert sum(map(len, by_source.values())) == sum(normaliser.ends.values())
    for offsets in by_source.values():
        assert all(one < other for one, other in pairwise(offsets))


@given(LOGS, st.lists(st.tuples(st.integers(1, 3), SECONDS, st.booleans()), min_size=6))
def test_no_body_is_lost_in_a_rebalance(
    logs: list[list[tuple[Source, bool]]], rounds: list[tuple[int, list[int], bool]]
) -> None:
    """A round that lasts beyond a rebalance commits nothing for bodies that it forgot."""
    normaliser = Rounds(logs)
    for most, seconds, rebalanced in [*rounds, *[(100, [1] * 100, False)] * 10]:
        normaliser.take(*seconds)
        normaliser.usual(most, meanwhile=normaliser.revoke if rebalanced else normaliser.publish)
        if rebalanced:
            normaliser.assign()
            normaliser.publish()
    assert normaliser.committed == normaliser.ends
