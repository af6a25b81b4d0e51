"""The earliest possible request time of the newest response."""

import math

from hypothesis import given
from hypothesis import strategies as st

from processors.runtime.fetch_times import FetchTimes


def test_the_first_request_times_are_unknown() -> None:
    """The first response may be of any age, and the second too."""
    times = FetchTimes()
    assert times.requested == -math.inf
    times.observe("a", 10)
    times.observe("b", 11)
    assert times.requested == -math.inf
    times.observe("c", 12)
    assert times.requested == 10
    times.observe("c", 20)
    assert times.requested == 10


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20),
    st.lists(st.floats(0, 120), min_size=1, max_size=40),
)
def test_the_newest_response_was_requested_no_earlier(
    exchanges: list[tuple[float, float]], calls: list[float]
) -> None:
    """At every call the bound is before the request of the newest response."""
    requested, arrived, now = [], [], 0.0
    for pause, way in exchanges:
        requested.append(now + pause)
        now += pause + way
        arrived.append(now)
    times = FetchTimes()
    for call in sorted(calls):
        there = [number for number, at in enumerate(arrived) if at <= call]
        times.observe(there[-1] if there else None, call)
        if there:
            assert times.requested <= requested[there[-1]]
