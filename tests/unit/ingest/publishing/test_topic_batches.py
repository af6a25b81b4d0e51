"""When a topic counts as refused by Kafka, which decides readiness, and when a batch is sent."""

import math

import pytest

from ingest.publishing.topic_batches import FEW, REFUSED_SECONDS, REST_SECONDS, Blame, TopicQueue


def _failed_queue(*batches: Blame | None) -> TopicQueue:
    """Return a queue after batches, one per second, each half a second in flight; None: success."""
    queue = TopicQueue("raw", 6)
    for sent_at, blame in enumerate(batches):
        if blame is None:
            queue.acknowledge(sent_at, sent_at + 0.5)
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
def test_a_topic_that_refuses_every_batch(batches: list[Blame | None]) -> None:
    """An error in an answer counts at once, a missing answer from the second batch on."""
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
def test_a_topic_that_accepts_some_batches(batches: list[Blame | None]) -> None:
    """A success resets the state, and a batch that Kafka refuses for its size never counts."""
    assert not _failed_queue(*batches).refuses_all(len(batches), -1.0)


def test_a_success_in_the_meantime_counts() -> None:
    """A failed batch does not make the topic refused if another partition accepts one meanwhile."""
    queue = TopicQueue("raw", 6)
    queue.acknowledge(0.0, 1.0)
    queue.fail("AnError", "answer", 0.5, 2.0)
    assert not queue.refuses_all(2.0, -1.0)
    assert queue.refused == "AnError"


def test_a_refusal_expires() -> None:
    """It expires, as an unready service gets no webhooks to try; an outage explains it too."""
    queue = _failed_queue("answer")
    assert queue.refuses_all(0.4 + REFUSED_SECONDS, -1.0)
    assert not queue.refuses_all(0.5 + REFUSED_SECONDS, -1.0)
    assert not queue.refuses_all(1.0, 0.0)


@pytest.mark.parametrize(
    ("took", "webhooks", "until"),
    [
        (0.004, 1, 10.004),
        (0.004, FEW - 1, 10.004),
        (0.004, FEW, -math.inf),
        (0.4, 1, 10 + REST_SECONDS),
    ],
    ids=["one webhook", "few webhooks", "many webhooks", "a slow acknowledgement"],
)
def test_a_small_batch_waits_after_an_acknowledgement(
    took: float, webhooks: int, until: float
) -> None:
    """It waits as long as the acknowledgement took, within a bound; a larger one does not."""
    queue = TopicQueue("raw", 6)
    queue.acknowledge(10 - took, 10.0)
    assert queue.rests_until(webhooks) == pytest.approx(until)


def test_the_first_batch_does_not_wait() -> None:
    """Without an acknowledgement there is no rest, not even after a failure."""
    queue = TopicQueue("raw", 6)
    queue.fail("AnError", "answer", 0.0, 1.0)
    assert queue.rests_until(1) == -math.inf
