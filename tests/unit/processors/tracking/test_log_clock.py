"""The time up to which timers may fire."""

import pytest

from processors.tracking.log_clock import horizon


@pytest.mark.parametrize(
    ("latest", "quiet", "now", "expected"),
    [
        (0, None, 1000, 0),
        (500, None, 1000, 400),
        (500, 0, 1000, 400),
        (500, 450, 1000, 400),
        (500, 800, 1000, 700),
        (500, 1200, 1000, 900),
        (1500, 1200, 1000, 1400),
        (50, None, 1000, 0),
    ],
)
def test_the_wall_clock_counts_while_the_log_is_quiet(
    latest: int, quiet: int | None, now: int, expected: int
) -> None:
    """While the log has unread records, its own time counts; the result is never below 0."""
    assert horizon(latest, quiet, now, 100) == expected
