"""Some schedules of the simulation for every change; `python -m tests.simulation` runs many."""

import pytest

from tests.simulation.__main__ import caught, main
from tests.simulation.rules import CONTROLS, Rules
from tests.simulation.schedule import run

# Where to begin with rules whose first failing schedule is a late one: this saves time.
_FIRST = {
    "one_write": 1001,
    "young_stores": 2401,
    "ask_elsewhere": 13301,
    "answer_before": 26801,
}


def test_the_protocol_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """With kills, fencing, stale stores and late requests, topics and stores match the oracle."""
    code = main(["--seed", "1", "--schedules", "500", "--jobs", "1"])
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("rule", CONTROLS)
def test_a_broken_rule_is_noticed(rule: str) -> None:
    """The simulation notices each rule of the protocol that is broken."""
    assert caught(_FIRST.get(rule, 1), 10_000, Rules(**{rule: False})) is not None


def test_a_seed_determines_a_schedule() -> None:
    """The same seed gives the same steps and the same end."""
    first: list[str] = []
    second: list[str] = []
    assert run(7, trace=first.append) == run(7, trace=second.append)
    assert first == second
