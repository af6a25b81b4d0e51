"""DDSketch: percentiles within 1 %, and sketches that can be added and taken away."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quality.sketch import added, of_time, quantile, with_percentiles
from schemas.quality import NO_TIMES, Sketch

TIMES = st.lists(st.integers(0, 45 * 86_400_000), min_size=1, max_size=60)


def sketch(times: list[int]) -> Sketch:
    return reduce(added, map(of_time, times), NO_TIMES)


@given(TIMES, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent(times: list[int], share: float) -> None:
    """Of the time at that rank, and half a millisecond for the rounding."""
    exact = sorted(times)[int(share * (len(times) - 1))]
    found = quantile(sketch(times), share)
    assert found is not None
    assert abs(found - exact) <= 0.01 * exact + 0.5


@given(TIMES, TIMES)
def test_sketches_are_added_and_taken_away(one: list[int], other: list[int]) -> None:
    """A sum is the sketch of all times, in any order; a difference is what is left."""
    assert added(sketch(one), sketch(other)) == sketch([*reversed(other), *one])
    assert added(sketch(one + other), sketch(other), -1) == sketch(one)
    assert added(sketch(one), sketch(one), -1) == NO_TIMES


def test_no_times_have_no_percentiles() -> None:
    assert with_percentiles(NO_TIMES) == NO_TIMES
    assert quantile(NO_TIMES, 0.5) is None


@pytest.mark.parametrize("ms", [0, 1, 2, 10, 49])
def test_a_short_time_is_exact(ms: int) -> None:
    found = with_percentiles(of_time(ms))
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (ms, ms, ms)
