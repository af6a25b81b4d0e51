"""What of a log may still be on its way."""

import pytest
from aiokafka import TopicPartition

from processors.runtime.group_progress import Settled, behind
from service.settings import Settings

A, B = TopicPartition("raw", 0), TopicPartition("raw", 1)


@pytest.mark.parametrize(
    ("at", "until"),
    [(0, 0), (119, 0), (120, 100), (219, 100), (220, 200), (1000, 200)],
)
def test_until_when_all_is_heard(at: int, until: int) -> None:
    """Only who was at the end after normalise was seen to be done has heard of all before."""
    settled = Settled(Settings())
    settled.note(until=100, since=120)
    settled.note(until=200, since=220)
    assert settled.until(at) == until


def test_behind() -> None:
    """A partition without a commit is behind by all it holds, an empty one by nothing."""
    assert behind({A: 5, B: 0}, {}) == {A: 5}
    assert behind({A: 5, B: 7}, {A: 5, B: 4}) == {B: 3}
