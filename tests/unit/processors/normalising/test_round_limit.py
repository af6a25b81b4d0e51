"""The end of a round of normalise."""

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
def test_when_a_round_is_full(
    size: int,
    seconds: float,
    session: float,
    ends: bool,  # noqa: FBT001
) -> None:
    """Bytes or time end it, the first of the two."""
    assert full(size, seconds, session) == ends
