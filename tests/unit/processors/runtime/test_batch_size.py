"""The size of a batch or poll after failures and successes, and the rest after a small one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.batch_size import MANY, REST_SECONDS, Cut, Polls, rest_seconds


@pytest.mark.parametrize(
    ("size", "taken", "after"),
    [(4000, 4000, 2000), (4000, 10, 5), (3, 3, 1), (2, 2, 1), (1, 1, 1), (3, 0, 3)],
)
def test_a_failure_halves_the_batch(size: int, taken: int, after: int) -> None:
    """It is halved down to one record, which shows the record at fault."""
    assert Cut(4000, size).failed(taken).size == after


@pytest.mark.parametrize(("size", "after"), [(1, 2), (3000, 4000), (4000, 4000)])
def test_a_success_doubles_the_size(size: int, after: int) -> None:
    """The size grows up to `most`."""
    assert Cut(4000, size).passed().size == after


@given(st.integers(1, 4096), st.integers(1, 60))
def test_no_batch_is_repeated_for_ever(takes: int, most: int) -> None:
    """If `most` records can be committed, a batch is committed after at most 12 failures."""
    cut = Cut(4096, takes)
    for _ in range(12):
        if cut.size > most:
            cut = cut.failed(cut.size)
    assert 1 <= cut.size <= most


@pytest.mark.parametrize(
    ("size", "records", "held", "after"),
    [
        (100, 100, 40_000, 200),  # small records: twice as many
        (4000, 4000, 1_600_000, 4000),
        (100, 100, 33_000_000, 25),  # large ones: as many as fit
        (100, 1, 20_000_000, 1),
        (100, 0, 0, 100),
        (100, 5, 0, 200),  # tombstones
    ],
)
def test_a_poll_fits_its_budget(size: int, records: int, held: int, after: int) -> None:
    """The next poll requests as many records as fit the budget, by the sizes of the last poll."""
    assert Polls(4000, 8_388_608, size).after(records, held).size == after


@pytest.mark.parametrize(
    ("took", "records", "rests"),
    [
        (0.004, 1, 0.004),
        (0.004, MANY - 1, 0.004),
        (0.004, MANY, 0.0),
        (3.0, 1, REST_SECONDS),
        (0.0, 0, 0.0),
    ],
    ids=["one record", "few records", "many records", "a slow batch", "nothing"],
)
def test_a_small_batch_is_followed_by_a_rest(took: float, records: int, rests: float) -> None:
    """It is as long as the batch took, within a bound."""
    assert rest_seconds(took, records) == rests
