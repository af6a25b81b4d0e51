"""Many values observed at once show what `observe` shows for one after the other."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.metrics.observe_all import observe_all

BOUNDS = (0.0, 0.5, 1.0, 10.0)
VALUES = st.integers(-1, 12) | st.sampled_from(BOUNDS)


@given(st.lists(st.lists(VALUES)))
def test_it_equals_observe(batches: list[list[float]]) -> None:
    """Values on a bound count below it, in any batches, also for the child of a label."""
    at_once, one_by_one = CollectorRegistry(), CollectorRegistry()
    many = Histogram("seconds", "a help", ["to"], registry=at_once, buckets=BOUNDS)
    one = Histogram("seconds", "a help", ["to"], registry=one_by_one, buckets=BOUNDS)
    for batch in batches:
        observe_all(many.labels("kafka"), batch)
        for value in batch:
            one.labels("kafka").observe(value)
    many.labels("kafka"), one.labels("kafka")
    assert generate_latest(at_once) == generate_latest(one_by_one)
