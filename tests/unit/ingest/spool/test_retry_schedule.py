"""Whose turn it is of the places that the dead left, and when one is given up."""

import pytest

from ingest.spool.retry_schedule import MOST_IN_VAIN, SKIP_SECONDS, GivenUp, due, in_vain


@pytest.mark.parametrize(
    ("windows", "ended", "over"),
    [
        (0, False, False),
        (0, True, False),
        (1, False, False),
        (1, True, True),
        (MOST_IN_VAIN - 1, False, False),
        (MOST_IN_VAIN, False, True),
    ],
)
def test_a_place_is_given_up_after_a_pass_in_vain(windows: int, *, ended: bool, over: bool) -> None:
    """At the end of the file, or after so much that others have waited long enough."""
    assert in_vain(windows, ended=ended) is over


NOW = 1000.0
LONG_AGO, BEFORE, JUST_NOW = NOW - SKIP_SECONDS - 1, NOW - SKIP_SECONDS, NOW - SKIP_SECONDS + 1


@pytest.mark.parametrize(
    ("holding", "given_up", "names"),
    [
        ([], {}, []),
        (["0", "2", "10"], {}, ["0", "2", "10"]),
        (["0", "1"], {"0": JUST_NOW}, ["1"]),
        (["0", "1"], {"0": BEFORE}, ["1", "0"]),
        (["0", "1", "2"], {"0": BEFORE, "1": LONG_AGO}, ["2", "1", "0"]),
        (["0"], {"7": LONG_AGO}, ["0"]),
    ],
)
def test_who_was_given_up_comes_last(
    holding: list[str], given_up: dict[str, float], names: list[str]
) -> None:
    """After a while, and behind all that were not; nothing that holds nothing has a turn."""
    tried = {name: GivenUp(at) for name, at in given_up.items()}
    assert due(holding, tried, NOW) == names
