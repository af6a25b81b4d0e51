"""How far a group is behind, from what it committed and what the log has."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.runtime import consumer_groups

PLACE = TopicPartition("bluetick.observations", 0)


@pytest.mark.parametrize(
    ("committed", "beginning", "end", "left"),
    [
        (None, 0, 9, 9),
        (4, 0, 9, 5),
        (9, 0, 9, 0),
        # What retention deleted is nobody's to commit.
        (None, 9, 9, 0),
        (None, 7, 9, 2),
        (4, 9, 9, 0),
        # Kafka's word for no offset.
        (-1, 2, 9, 7),
    ],
)
def test_what_is_left_is_what_the_log_still_has(
    committed: int | None, beginning: int, end: int, left: int
) -> None:
    """An idle group of a log that retention has emptied is not behind."""
    done = {} if committed is None else {PLACE: OffsetAndMetadata(committed, "")}
    assert consumer_groups.left({PLACE: beginning}, {PLACE: end}, done) == left
