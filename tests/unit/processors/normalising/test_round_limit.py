"""The end of a round of normalise."""

import pytest

from processors.normalising.round_limit import longest


@pytest.mark.parametrize(
    ("session", "large", "seconds"),
    [(30, False, 0.5), (6, False, 0.3), (300, False, 0.5), (30, True, 0.2), (2, True, 0.1)],
)
def test_how_long_a_round_is(session: float, large: bool, seconds: float) -> None:  # noqa: FBT001
    """A share of the session timeout, and never more than 0.5 s, or 0.2 s with large bodies."""
    assert longest(session, large=large) == pytest.approx(seconds)
