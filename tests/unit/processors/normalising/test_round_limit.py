"""The end of a round of normalise."""

import pytest

from processors.normalising.round_limit import longest


@pytest.mark.parametrize(("session", "seconds"), [(30, 1.5), (6, 0.3), (300, 1.5)])
def test_how_long_a_round_is(session: float, seconds: float) -> None:
    """A share of the session timeout, and never more than 1.5 s."""
    assert longest(session) == pytest.approx(seconds)
