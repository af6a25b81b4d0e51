"""Which states of a transaction that Kafka did not commit as a whole are left out of a restore."""

from typing import Any

import pytest
from aiokafka import ConsumerRecord

from processors.runtime.exactly_once.changelog_headers import NOTE, TAKEN_TO
from processors.runtime.exactly_once.offset_note import Note
from processors.tracking import timers
from processors.tracking.incomplete_transactions import Committed, LeftOut, stored
from processors.tracking.next_state import track
from processors.tracking.timers import PATIENCE
from schemas.codec import encode
from tests.unit.messages import KEY, seen

NOW = 1_700_000_000_000
NOTED = Note(time=NOW, stamp=NOW, begin=90, outputs=3)
"""The note of a transaction that took the observations 90 to 99."""


def record(time: int, headers: dict[str, bytes]) -> ConsumerRecord[bytes, bytes]:
    given: dict[str, Any] = dict.fromkeys(ConsumerRecord.__dataclass_fields__)
    given |= {"timestamp": time, "headers": [*headers.items()]}
    return ConsumerRecord(**given)


def first(time: int, begin: int, taken_to: int, outputs: int = 1) -> ConsumerRecord[bytes, bytes]:
    """Return the first state of a transaction."""
    note = Note(time, time, begin, outputs=outputs).metadata.encode()
    return record(time, {TAKEN_TO: b"%d" % taken_to, NOTE: note})


@pytest.mark.parametrize(
    ("time", "begin", "taken_to", "lacks"),
    [
        (NOW, 90, 100, False),
        (NOW - 1, 80, 90, False),
        (NOW + 1, 100, 110, True),
        (NOW + 1, 100, 100, True),
        (NOW + 1, 95, 98, True),
        (NOW - 1, 95, 105, True),
        (NOW + 2, 110, 120, False),
        (NOW - 11, 100, 110, False),
    ],
    ids=[
        "the last one",
        "one before",
        "its offset is missing",
        "the same of timers alone",
        "its offset is missing, and the group's went back before",
        "one that is tracked again in part",
        "one after another one whose offset was lost",
        "an old one",
    ],
)
def test_what_counts_as_incomplete(time: int, begin: int, taken_to: int, *, lacks: bool) -> None:
    """A transaction is incomplete if the group's offset does not cover it."""
    assert Committed(100, NOTED, since=NOW - 10).lacks(time, begin, taken_to) == lacks


@pytest.mark.parametrize(
    ("begin", "taken_to", "lacks"),
    [(100, 110, True), (100, 100, True), (95, 105, False), (90, 100, False), (110, 120, False)],
)
def test_without_a_note_only_what_is_read_again_is_left_out(
    begin: int, taken_to: int, *, lacks: bool
) -> None:
    """The first offset, or one set by hand: what was read before it is not tracked again."""
    assert Committed(100, Note(), since=NOW - 10).lacks(NOW, begin, taken_to) == lacks


@pytest.mark.parametrize(
    ("has_states", "seen", "offset"),
    [(True, 3, 100), (True, 2, 90), (False, 3, 90), (False, 0, 90)],
)
def test_what_consumers_see_is_compared(seen: int, offset: int, *, has_states: bool) -> None:
    """Without all outputs and states the offset before the transaction counts."""
    found = Committed(100, NOTED, 0).compared(has_states=has_states, seen=seen)
    assert (found.offset, found.incomplete) == (offset, offset == 90)
    assert found.lacks(NOW, 90, 100) == (offset == 90)


def test_timers_alone_that_lack_an_alarm() -> None:
    """They commit the same offset again, so all of those at that offset are left out."""
    note = Note(time=NOW, stamp=NOW, begin=100, outputs=1)
    found = Committed(100, note, 0).compared(has_states=True, seen=0)
    assert found.lacks(NOW, 100, 100)
    assert found.lacks(NOW - 5, 100, 100)
    assert not found.lacks(NOW - 5, 98, 100)


@pytest.mark.parametrize(
    ("time", "incomplete", "may"),
    [(NOW, False, False), (NOW, True, True), (NOW + 1, False, True), (NOW - 21, True, False)],
)
def test_a_store_that_may_hold_such_states(time: int, *, incomplete: bool, may: bool) -> None:
    """It is wiped if its last record is of such a transaction, or may be."""
    assert Committed(100, NOTED, NOW - 20, incomplete).may_lack(time) == may


def test_all_states_of_a_transaction_are_left_out() -> None:
    """Only its first state has the headers; the others have the same time."""
    left_out = LeftOut(Committed(100, NOTED, NOW - 10), last=NOW + 5)
    records = [
        first(NOW, 90, 100),
        record(NOW, {}),
        first(NOW + 5, 100, 104),
        record(NOW + 5, {}),
        record(NOW + 5, {}),
    ]
    assert [left_out(one) for one in records] == [False, False, True, True, True]
    assert left_out.times == {NOW + 5}


@pytest.mark.parametrize(
    ("last", "begin", "outputs"),
    [(NOW + 6, 100, 2), (NOW + 5, 100, 0), (NOW + 5, 98, 2)],
    ids=["another builds on it", "no output may be lost", "not all of it is tracked again"],
)
def test_states_that_stay(last: int, begin: int, outputs: int) -> None:
    """If the group's offset is lost alone, what followed from the states would not fit any more."""
    left_out = LeftOut(Committed(100, NOTED, NOW - 10), last=last)
    assert not left_out(first(NOW + 5, begin, 104, outputs))
    assert not left_out(record(NOW + 5, {}))
    assert left_out.times == {NOW + 5}
    assert not left_out.keys


def test_the_states_before_are_written_again() -> None:
    """With the timers that they have; a message without a state before gets a tombstone."""
    observation = seen("queued", NOW)
    known = track(None, KEY, observation, None, at=NOW, due=None).state
    assert known is not None
    new, states = b"smsmanager/-/new", {KEY: encode(known)}
    result = stored([KEY.encode(), new], lambda keys: [states.get(key) for key in keys], PATIENCE)
    assert result.states == {KEY.encode(): states[KEY], new: None}
    assert result.armed == {KEY.encode(): timers.due(known, PATIENCE)}
    assert not result.outputs
