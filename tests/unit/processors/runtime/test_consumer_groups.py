"""The lag of a group, from its committed offsets and the offsets of the log."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.runtime import consumer_groups

A, B = (TopicPartition("bluetick.observations", number) for number in (0, 1))


@pytest.mark.parametrize(
    ("committed", "beginning", "end", "left"),
    [
        (None, 0, 9, 9),
        (4, 0, 9, 5),
        (9, 0, 9, 0),
        # Offsets that retention deleted count as committed.
        (None, 9, 9, 0),
        (None, 7, 9, 2),
        (4, 9, 9, 0),
        # Kafka's value for no offset.
        (-1, 2, 9, 7),
    ],
)
def test_lag_counts_offsets_that_the_log_still_has(
    committed: int | None, beginning: int, end: int, left: int
) -> None:
    """An idle group has no lag on a log that retention has emptied."""
    done = {} if committed is None else {A: OffsetAndMetadata(committed, "")}
    assert consumer_groups.lag_before({A: beginning}, {A: end}, done) == left


@pytest.mark.parametrize(
    ("committed", "left"),
    [({}, 12), ({A: 5}, 7), ({A: 5, B: 4}, 3), ({A: 6, B: 9}, 0)],
)
def test_lag_is_the_sum_over_partitions(committed: dict[TopicPartition, int], left: int) -> None:
    """A partition ahead of the end does not reduce the lag of another one."""
    done = {place: OffsetAndMetadata(offset, "") for place, offset in committed.items()}
    assert consumer_groups.lag_before({A: 0, B: 0}, {A: 5, B: 7}, done) == left
