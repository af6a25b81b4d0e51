"""The record of a replay in its consumer group."""

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.replay import progress
from processors.replay.progress import Replay, Spec
from processors.runtime.offset_ranges import Span
from service.errors import Problem

SPANS = tuple(Span("bluetick.raw.whapi", partition, 0, 9) for partition in range(3))
REPLAY = Replay("fixed", 1, Spec(SPANS), {span.place: 4 for span in SPANS})


def committed(replay: Replay) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(*span.place): OffsetAndMetadata(
            replay.reached[span.place], progress._note(replay, span)
        )
        for span in replay.spec.spans
    }


def test_a_replay_is_read_as_it_was_recorded() -> None:
    assert progress._replay("fixed", committed(REPLAY)) == REPLAY
    assert progress._replay("fixed", {}) is None


def test_a_partly_expired_replay_is_not_resumed() -> None:
    """Otherwise its range would be cut without a notice."""
    known = committed(REPLAY)
    known.pop(TopicPartition(*SPANS[1].place))
    with pytest.raises(
        Problem, match="has deleted the offsets of 1 of the 3 partitions of the replay fixed"
    ):
        progress._replay("fixed", known)
