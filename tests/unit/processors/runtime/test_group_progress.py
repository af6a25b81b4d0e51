"""How far a group is behind the ends of its topics."""

from aiokafka import TopicPartition

from processors.runtime.group_progress import behind

A, B = TopicPartition("raw", 0), TopicPartition("raw", 1)


def test_behind() -> None:
    """A partition without a commit is behind by all it holds, an empty one by nothing."""
    assert behind({A: 5, B: 0}, {}) == {A: 5}
    assert behind({A: 5, B: 7}, {A: 5, B: 4}) == {B: 3}
