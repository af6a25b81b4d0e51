"""How much a round of the normaliser takes, and what a failure makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.roundcut import MOST_BODIES, MOST_BYTES, Cut


@pytest.mark.parametrize(
    ("cut", "bodies", "size", "seconds", "session", "ends"),
    [
        (Cut(), 0, 0, 0.0, 30, False),
        (Cut(), 1000, MOST_BYTES - 1, 1.4, 30, False),
        (Cut(), MOST_BODIES, 0, 0.0, 30, True),
        (Cut(), 1, MOST_BYTES, 0.0, 30, True),
        (Cut(), 1, 0, 1.5, 30, True),
        # A share of the session timeout, and never more than 1.5 s.
        (Cut(), 1, 0, 0.31, 6, True),
        (Cut(), 1, 0, 1.5, 300, True),
        (Cut(1), 1, 0, 0.0, 30, True),
        (Cut(3), 2, 0, 0.0, 30, False),
    ],
)
def test_when_a_round_takes_no_more(  # noqa: PLR0917 - a row of the table
    cut: Cut,
    bodies: int,
    size: int,
    seconds: float,
    session: float,
    ends: bool,  # noqa: FBT001
) -> None:
    """By bodies, by bytes, by the clock: whichever comes first."""
    assert cut.ends(bodies, size, seconds, session) == ends


@pytest.mark.parametrize(
    ("cut", "bodies", "then"),
    [
        # Half of what was tried, not of what was allowed; and at least one body.
        (Cut(), 4096, 2048),
        (Cut(), 300, 150),
        (Cut(150), 150, 75),
        (Cut(3), 3, 1),
        (Cut(1), 1, 1),
        # Nothing was normalised: the failure is not the round's.
        (Cut(), 0, MOST_BODIES),
        (Cut(7), 0, 7),
    ],
)
def test_a_failed_round_is_cut(cut: Cut, bodies: int, then: int) -> None:
    """It does not come again as it was."""
    assert cut.failed(bodies).bodies == then


@pytest.mark.parametrize(("cut", "then"), [(1, 2), (75, 150), (3000, MOST_BODIES)])
def test_success_lets_rounds_grow(cut: int, then: int) -> None:
    """Twice as many, up to the most."""
    assert Cut(cut).succeeded().bodies == then


@given(st.integers(1, 10**6), st.integers(1, 60))
def test_no_round_is_repeated_for_ever(takes: int, most: int) -> None:
    """Where so many bodies at most can be committed, some are after a dozen failures."""
    cut = Cut(min(takes, MOST_BODIES))
    for _ in range(MOST_BODIES.bit_length()):
        if cut.bodies <= most:
            break
        cut = cut.failed(cut.bodies)
    assert 1 <= cut.bodies <= most
