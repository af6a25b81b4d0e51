"""Which partition gets the next batch of a topic."""

import pytest

from ingest.publishing.topic_batches import STALE_SECONDS, Batch, TopicQueue

_NOW = 100.0


def _queue(sent: dict[int, float]) -> TopicQueue:
    """Return the queue of a topic with four partitions, with the age of each batch in flight."""
    queue = TopicQueue("raw", 4)
    for partition, age in sent.items():
        queue.sent[partition] = Batch(None)
        queue.sent[partition].sent_at = _NOW - age
    return queue


@pytest.mark.parametrize(
    ("sent", "leaders", "expected"),
    [
        ({}, {0: 1, 1: 1, 2: 1, 3: 1}, 1),
        ({1: 0}, {0: 1, 1: 1, 2: 1, 3: 1}, None),  # the only broker has a batch
        ({1: 0}, {0: 1, 1: 1, 2: 2, 3: 2}, 2),  # another broker has none
        ({1: 0}, {0: 2, 1: 1, 2: 1, 3: 1}, 0),
        ({1: STALE_SECONDS}, {0: 1, 1: 1, 2: 1, 3: 1}, 2),  # its batch hangs
        ({1: 0, 2: STALE_SECONDS}, {0: 1, 1: 1, 2: 2, 3: 2}, 3),
        ({}, {3: 1}, 3),  # the others have no leader
        ({3: 0}, {3: 1}, 1),  # no partition with a leader is free
        ({2: 0}, {2: 1, 3: 1}, None),  # one is, but its broker has a batch
        ({}, {}, 1),  # no partition has a leader
        ({0: 1, 1: 1, 2: 1, 3: 1}, {0: 1, 1: 1, 2: 1, 3: 1}, None),
    ],
)
def test_the_next_partition(
    sent: dict[int, float], leaders: dict[int, int], expected: int | None
) -> None:
    """In turn, without a batch in flight, on a broker without one."""
    assert _queue(sent).next_partition(leaders, _NOW) == expected


def test_partitions_take_turns() -> None:
    queue = _queue({})
    found = [queue.next_partition(dict.fromkeys(range(4), 1), _NOW) for _ in range(5)]
    assert found == [1, 2, 3, 0, 1]
