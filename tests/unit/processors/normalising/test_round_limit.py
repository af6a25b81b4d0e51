"""When a round of the normaliser ends."""

import pytest

from processors.normalising.round_limit import MOST_BYTES, full


@pytest.mark.parametrize(
    ("size", "seconds", "session", "ends"),
    [
        (0, 0.0, 30, False),
        (MOST_BYTES - 1, 1.4, 30, False),
        (MOST_BYTES, 0.0, 30, True),
        (0, 1.5, 30, True),
        # A share of the session timeout, and never more than 1.5 s.
        (0, 0.31, 6, True),
        (0, 1.5, 300, True),
    ],
)
def test_when_a_round_takes_no_more(
    size: int,
    seconds: float,
    session: float,
    ends: bool,  # noqa: FBT001
) -> None:
    """By bytes or by the clock: whichever comes first."""
    assert full(size, seconds, session) == ends
