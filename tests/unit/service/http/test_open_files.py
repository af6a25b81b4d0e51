"""The division of a process's open files between connections and everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.open_files import RESERVE, Shares, shares


@pytest.mark.parametrize(
    ("limit", "wanted", "expected"),
    [
        (20_000, 10_000, Shares(64, 10_000)),
        (1024, 10_000, Shares(64, 832)),
        (300, 10_000, Shares(18, 154)),
        (300, 100, Shares(18, 100)),
        (300, 0, Shares(18, 1)),
        (64, 10_000, Shares(4, 28)),
    ],
)
def test_files_are_divided(limit: int, wanted: int, expected: Shares) -> None:
    """Senders get the wanted number, or the rest after the reserve and the health address."""
    assert shares(limit, wanted) == expected


@given(st.integers(32, 2**63), st.integers(0, 100_000))
def test_connections_never_take_the_reserve(limit: int, wanted: int) -> None:
    """For every limit, both kinds of connections together leave the reserve, or half of it."""
    health, senders = shares(limit, wanted)
    assert health >= 4
    assert senders >= 1
    assert limit - health - senders >= min(RESERVE, limit // 2)
