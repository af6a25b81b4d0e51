"""When `up` starts a service again, and when it gives up."""

import pytest

from cli.up.restarts import MOST_QUICK_RUNS, QUICK_SECONDS, Next, after

LONG = QUICK_SECONDS


@pytest.mark.parametrize(
    ("quick_runs", "ran", "expected"),
    [
        (0, LONG, Next(0, 1.0)),
        (0, 0.0, Next(1, 1.0)),
        (1, LONG - 0.1, Next(2, 2.0)),
        (2, 5.0, Next(3, 4.0)),
        (3, 5.0, Next(4, 8.0)),
        (4, 5.0, Next(5, 10.0)),
        (5, 5.0, Next(6, None)),
        (5, LONG, Next(0, 1.0)),
        (3, 24 * LONG, Next(0, 1.0)),
    ],
)
def test_the_next_run(quick_runs: int, ran: float, expected: Next) -> None:
    """Quick runs in a row lengthen the pause up to its bound, then end; a long run resets them."""
    assert after(quick_runs, ran) == expected


def test_a_service_that_always_ends_at_once_is_given_up() -> None:
    """All its pauses together take less than half a minute."""
    pauses, quick_runs = [], 0
    while True:
        quick_runs, pause = after(quick_runs, 0.1)
        if pause is None:
            break
        pauses.append(pause)
    assert len(pauses) == MOST_QUICK_RUNS - 1
    assert sum(pauses) == 25
