"""The size of the next batch, and the messages that it sets aside."""

import pytest

from processors.runtime.record_batches import TooLargeError
from processors.tracking.batch_cut import BatchCut
from service.errors import Problem

REFUSED = TooLargeError("Kafka refuses 2000000 bytes", frozenset({"a"}))


def test_a_batch_that_takes_too_long_is_halved() -> None:
    """After a commit the next one is larger again."""
    cut = BatchCut(4000)
    cut.failed(1000)
    assert cut.size == 500
    cut.passed()
    assert cut.size == 1000


def test_a_refused_message_is_found_apart_and_set_aside() -> None:
    """First by records that are sent apart, then without a value; a commit forgets it."""
    cut = BatchCut(4000)
    cut.refused(REFUSED)
    assert (cut.apart, cut.size, cut.unwanted) == (True, 500, {})
    cut.refused(REFUSED)
    assert not cut.apart
    assert not cut.unwanted["a"].valueless
    cut.refused(REFUSED)
    cut.refused(REFUSED)
    assert cut.unwanted["a"].valueless
    cut.refused(REFUSED)
    with pytest.raises(Problem) as refused:
        cut.refused(REFUSED)
    assert refused.value.code == "dead_letter_refused"
    cut.passed()
    assert (cut.apart, cut.unwanted) == (False, {})
