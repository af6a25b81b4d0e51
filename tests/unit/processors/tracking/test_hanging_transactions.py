"""How a transaction that Kafka left open is ended."""

import pytest
from aiokafka import TopicPartition

from processors.tracking.hanging_transactions import Open, was_committed

PLACES = (TopicPartition("bluetick.messages", 0),)


@pytest.mark.parametrize(
    ("taken_to", "seen", "committed", "expected"),
    [
        (None, False, 0, False),  # timers alone, and nobody saw them
        (None, True, 0, True),
        (7, False, 5, False),  # its offset is open as well
        (7, False, 7, True),
        (7, False, 9, True),  # another transaction came after it
        (7, True, 5, True),  # the offset alone is open
        (0, False, 0, True),
    ],
)
def test_one_committed_part_tells_of_all(
    taken_to: int | None,
    seen: bool,  # noqa: FBT001
    committed: int,
    expected: bool,  # noqa: FBT001
) -> None:
    """Readers that see a part, or the group's offset, decide; without either it is undone."""
    assert was_committed(Open(1, taken_to, PLACES, seen), committed) is expected
