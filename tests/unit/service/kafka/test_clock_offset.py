"""The offset of two clocks, and its sentences."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kafka import clock_offset
from service.kafka.clock_offset import Estimate, Logged, Sample, State, estimate, judge, line_due

HOUR = 3_600_000.0


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[float, list[Sample]]:
    """Kafka's time less the time since the start, and exchanges that measure it."""
    base = draw(st.floats(1e12, 2e12))
    samples = []
    for _ in range(draw(st.integers(1, 5))):
        sent = draw(st.floats(0, 1e9))
        there, back = draw(st.floats(0, 5000)), draw(st.floats(0, 5000))
        samples.append(Sample(sent, sent + there + back, int(base + sent + there)))
    return base, samples


@given(exchanges())
def test_the_error_is_within_its_bound(made: tuple[float, list[Sample]]) -> None:
    """For every division of a round trip, the true difference is within the error bound."""
    base, samples = made
    found = estimate(samples)
    assert abs(found.base - base) <= found.bound + 0.01  # floats of 10^12


@given(exchanges())
def test_the_quickest_exchange_counts(made: tuple[float, list[Sample]]) -> None:
    """The bound is that of the quickest exchange, in any order."""
    _, samples = made
    assert estimate(samples) == estimate([min(samples, key=lambda one: one.heard - one.sent)])
    assert estimate(samples).bound == min(estimate([one]).bound for one in samples)


@given(exchanges(), st.floats(-2 * HOUR, 2 * HOUR), st.floats(0, 1e9))
def test_the_offset_is_of_the_wall_clock(
    made: tuple[float, list[Sample]], ahead: float, uptime: float
) -> None:
    """The offset of a wall clock that is ahead of Kafka's is correct at any time."""
    base, samples = made
    found = estimate(samples)
    offset = found.offset(base + uptime + ahead, uptime)
    assert abs(offset * 1000 - ahead) <= found.bound + 0.02
    assert abs(found.at(uptime) - (base + uptime)) <= found.bound + 1


@pytest.mark.parametrize(
    ("offset", "bound", "state"),
    [
        (0.0, 0.0, "right"),
        (5.0, 0.0, "right"),
        (5.01, 0.0, "wrong"),
        (-5.01, 0.0, "wrong"),
        (6.0, 1.5, "right"),
        (60.0, 0.0, "wrong"),
        (60.01, 0.0, "unready"),
        (-3600.0, 0.002, "unready"),
        (61.0, 1.5, "wrong"),
        (7200.0, 1.0, "unready"),
    ],
)
def test_judge(offset: float, bound: float, state: State) -> None:
    """The certain part of an offset counts: its distance from zero less the bound."""
    assert judge(offset, bound) == state


WRONG = Logged("wrong", 10.0, 1000.0)


@pytest.mark.parametrize(
    ("last", "state", "offset", "at", "due"),
    [
        (None, "right", 0.0, 0.0, False),
        (None, "wrong", 10.0, 0.0, True),
        (WRONG, "wrong", 10.0, 1060.0, False),
        (WRONG, "wrong", 14.9, 1060.0, False),
        (WRONG, "wrong", 15.1, 1060.0, True),
        (WRONG, "wrong", -10.0, 1060.0, True),
        (WRONG, "wrong", 10.0, 1599.0, False),
        (WRONG, "wrong", 10.0, 1600.0, True),
        (WRONG, "unready", 61.0, 1001.0, True),
        (WRONG, "right", 0.0, 1001.0, True),
        (Logged("right", 0.0, 1000.0), "right", 1.0, 9000.0, False),
        (Logged("right", 0.0, 1000.0), "wrong", 10.0, 1001.0, True),
    ],
)
def test_a_line_is_due(
    last: Logged | None, state: State, offset: float, at: float, *, due: bool
) -> None:
    """Once, after a large change, each ten minutes, and when the clocks agree again."""
    assert line_due(last, state, offset, at) is due


@pytest.mark.parametrize(
    ("offset", "way"), [(3660.04, "3660.0 s ahead of"), (-7.25, "7.2 s behind")]
)
def test_words(offset: float, way: str) -> None:
    """One sentence names the clock, the amount and the remedy."""
    assert clock_offset.differ(offset, 0.002) == (
        f"this machine's clock is {way} Kafka's (± 0.002 s); "
        "correct the wrong one, and synchronise both by NTP"
    )


def test_time_continues_from_the_estimate() -> None:
    """Only the elapsed time since the start moves Kafka's time."""
    found = Estimate(1_000_000.0, 1.0)
    times = [found.at(uptime) for uptime in (0.0, 10.0, 500.0)]
    assert [after - before for before, after in pairwise(times)] == [10, 490]
