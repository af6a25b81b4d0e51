"""Where the task of changes continues: at the position that its cells name."""

import pytest

from processors.quality.partition_tasks import continued_at
from processors.runtime.exactly_once.offset_note import Note

COMMITTED = Note(1_764_331_200_000, 1_764_331_200_000, 3)
BY_HAND = Note()


@pytest.mark.parametrize(
    ("position", "committed", "note", "expected"),
    [
        (None, 7, COMMITTED, 7),
        (9, 7, COMMITTED, 9),
        # The cells of the last transaction are lost, or only a marker follows them.
        (5, 7, COMMITTED, 5),
        # The offset was moved on, moved back, or has expired.
        (5, 7, BY_HAND, 7),
        (5, 0, BY_HAND, 5),
    ],
)
def test_it_continues_behind_what_its_cells_hold(
    position: int | None, committed: int, note: Note, expected: int
) -> None:
    assert continued_at(position, committed, note) == expected
