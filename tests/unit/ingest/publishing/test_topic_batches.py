"""When a topic counts as one that takes nothing: the law of readiness without a spool."""

import pytest

from ingest.publishing.topic_batches import REFUSED_SECONDS, Blame, TopicQueue


def _failed_queue(*batches: Blame | None) -> TopicQueue:
    """A topic after batches, one a second, each on its way for half of one; None is a success."""
    queue = TopicQueue("raw", 6)
    for sent_at, blame in enumerate(batches):
        if blame is None:
            queue.acknowledge(sent_at + 0.5)
        else:
            queue.fail("AnError", blame, sent_at, sent_at + 0.5)
    return queue


@pytest.mark.parametrize(
    "batches",
    [
        ["answer"],
        [None, "answer"],
        ["answer", "batch"],
        ["silence", "silence"],
        [None, "silence", "silence"],
    ],
)
def test_a_topic_that_takes_nothing(batches: list[Blame | None]) -> None:
    """An answer counts at once, silence from the second batch on."""
    assert _failed_queue(*batches).refuses_all(len(batches), -1.0)


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [None],
        ["answer", None],
        ["batch"],
        ["batch", "batch"],
        ["silence"],
        ["silence", None, "silence"],
    ],
)
def test_a_topic_that_takes_something(batches: list[Blame | None]) -> None:
    """A success ends it, and a body that Kafka refuses for its size never counts."""
    assert not _failed_queue(*batches).refuses_all(len(batches), -1.0)


def test_what_is_taken_meanwhile_counts() -> None:
    """A batch that fails while another partition takes one says nothing of the topic."""
    queue = TopicQueue("raw", 6)
    queue.acknowledge(1.0)
    queue.fail("AnError", "answer", 0.5, 2.0)
    assert not queue.refuses_all(2.0, -1.0)
    assert queue.refused == "AnError"


def test_a_refusal_is_of_its_time() -> None:
    """It passes, as a service that is not ready gets nothing to try; an outage explains it."""
    queue = _failed_queue("answer")
    assert queue.refuses_all(0.4 + REFUSED_SECONDS, -1.0)
    assert not queue.refuses_all(0.5 + REFUSED_SECONDS, -1.0)
    assert not queue.refuses_all(1.0, 0.0)
