"""When a topic counts as one that takes nothing: the law of readiness without a spool."""

import pytest

from ingest.publishing.topic_batches import REFUSED_SECONDS, Blame, Lane


def _lane(*batches: Blame | None) -> Lane:
    """A topic after batches, one a second, each on its way for half of one; None is a success."""
    lane = Lane("raw", 6)
    for sent_at, blame in enumerate(batches):
        if blame is None:
            lane.acknowledge(sent_at + 0.5)
        else:
            lane.fail("AnError", blame, sent_at, sent_at + 0.5)
    return lane


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
    assert _lane(*batches).refuses_all(len(batches), -1.0)


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
    assert not _lane(*batches).refuses_all(len(batches), -1.0)


def test_what_is_taken_meanwhile_counts() -> None:
    """A batch that fails while another partition takes one says nothing of the topic."""
    lane = Lane("raw", 6)
    lane.acknowledge(1.0)
    lane.fail("AnError", "answer", 0.5, 2.0)
    assert not lane.refuses_all(2.0, -1.0)
    assert lane.refused == "AnError"


def test_a_refusal_is_of_its_time() -> None:
    """It passes, as a service that is not ready gets nothing to try; an outage explains it."""
    lane = _lane("answer")
    assert lane.refuses_all(0.4 + REFUSED_SECONDS, -1.0)
    assert not lane.refuses_all(0.5 + REFUSED_SECONDS, -1.0)
    assert not lane.refuses_all(1.0, 0.0)
