"""A histogram of many values at once shows what prometheus_client's own would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.metrics.many_values import ManyValues

BOUNDS = (0.0, 0.5, 1.0, 10.0)
VALUES = st.integers(-1, 12) | st.sampled_from(BOUNDS)


@given(st.lists(st.lists(VALUES)))
def test_it_equals_the_histogram_of_the_library(batches: list[list[float]]) -> None:
    """Values on a bound count below it, in any batches."""
    mine, theirs = CollectorRegistry(), CollectorRegistry()
    many = ManyValues("seconds", "a help", BOUNDS)
    one = Histogram("seconds", "a help", registry=theirs, buckets=BOUNDS)
    mine.register(many)
    for batch in batches:
        many.add(batch)
        for value in batch:
            one.observe(value)
    assert generate_latest(mine) == generate_latest(theirs)
