"""The order in which slots of dead processes are tried, and when one is given up."""

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
def test_a_slot_is_given_up_after_a_pass_without_success(
    windows: int, *, ended: bool, over: bool
) -> None:
    """At the end of the file, or after a bounded number of windows."""
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
def test_slots_that_were_given_up_come_last(
    holding: list[str], given_up: dict[str, float], names: list[str]
) -> None:
    """They are due again after a pause, after all other slots; empty slots are never due."""
    tried = {name: GivenUp(at) for name, at in given_up.items()}
    assert due(holding, tried, NOW) == names
