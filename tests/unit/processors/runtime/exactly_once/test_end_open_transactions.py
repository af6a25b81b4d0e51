"""The end of a transaction that Kafka left open."""

import pytest
from aiokafka import TopicPartition

from processors.runtime.exactly_once.end_open_transactions import (
    Open,
    once_committed,
    was_committed,
)
from processors.runtime.exactly_once.offset_note import Note

PLACES = (TopicPartition("bluetick.messages", 0),)


@pytest.mark.parametrize(
    ("taken_to", "seen", "committed", "expected"),
    [
        (None, False, 0, False),  # timers alone, and no visible part
        (None, True, 0, True),
        (7, False, 5, False),  # its offset is open as well
        (7, False, 7, True),
        (7, False, 9, True),  # another transaction came after it
        (7, True, 5, True),  # the offset alone is open
        (0, False, 0, True),
    ],
)
def test_one_committed_part_proves_that_all_are(
    taken_to: int | None,
    seen: bool,  # noqa: FBT001
    committed: int,
    expected: bool,  # noqa: FBT001
) -> None:
    """A visible part, or the group's offset, proves a commit; otherwise it is aborted."""
    assert was_committed(Open(1, taken_to, PLACES, seen), committed, "") is expected


@pytest.mark.parametrize(
    ("time", "taken_to", "seen", "expected"),
    [
        (50, 7, False, True),
        (49, 7, False, True),  # another transaction came after it
        (51, 7, False, False),
        (51, 3, False, False),  # the offset goes back: earlier records are tracked again
        (51, 3, True, True),
        (50, None, False, True),  # timers alone
    ],
)
def test_the_offsets_metadata_names_the_newest_transaction(
    time: int,
    taken_to: int | None,
    seen: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    """Its time is decisive, not the offset, which may go back."""
    note = Note(50, 40, 2).metadata
    assert was_committed(Open(time, taken_to, PLACES, seen), 5, note) is expected


OLD, NEW = Note(50, 40, 2).metadata, Note(60, 60, 5).metadata


@pytest.mark.parametrize(
    ("time", "taken_to", "note", "expected"),
    [
        (60, 7, NEW, (7, NEW)),
        (60, 3, NEW, (3, NEW)),
        (60, None, NEW, (5, NEW)),
        (50, 5, OLD, (5, OLD)),
        (45, 3, Note(45, 40, 2).metadata, (5, OLD)),  # another transaction came after it
        (60, 7, None, (7, OLD)),  # of an earlier version, or its states are lost
        (60, 3, None, (5, OLD)),
        (60, None, None, (5, OLD)),
    ],
)
def test_the_offset_committed_with_the_rest(
    time: int, taken_to: int | None, note: str | None, expected: tuple[int, str]
) -> None:
    """The transaction's own offset and metadata, unless a later one is committed."""
    left = Open(time, taken_to, PLACES, seen=True, note=note)
    assert once_committed(left, 5, OLD) == expected
