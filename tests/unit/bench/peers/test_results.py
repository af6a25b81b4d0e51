"""Medians and ratios of runs, and the table."""

from io import StringIO

from rich.console import Console

from bench.peers.results import Result, Run, Subject, disqualified, ratio, spread, table

RESULT = Result(
    job="track",
    what="what",
    command="python -m bench peers track",
    machine="2 cores",
    sizes={},
    rounds=3,
    versions={},
    subjects=[
        Subject(name="ours", settings="the defaults"),
        Subject(name="theirs", settings="tuned", against="ours"),
    ],
    runs=[
        Run(subject="ours", round=1, figures={"records/s": 20.0}),
        Run(subject="theirs", round=1, figures={"records/s": 10.0}),
        Run(subject="ours", round=2, figures={"records/s": 90.0}),
        Run(subject="theirs", round=2, figures={"records/s": 30.0}),
        Run(subject="ours", round=3, figures={"records/s": 30.0}),
        Run(subject="theirs", round=3, figures={"records/s": 999.0}, wrong="dropped 1"),
    ],
    absent={"other": "the command mvn is not installed"},
)


def test_a_disqualified_run_does_not_count() -> None:
    assert spread(RESULT, "theirs", "records/s") == (20.0, 10.0, 30.0)
    assert [run.subject for run in disqualified(RESULT)] == ["theirs"]


def test_ratios_are_within_a_round() -> None:
    assert ratio(RESULT, "theirs", "records/s", "ours") == (2.5, 2.0, 3.0)


def test_table_names_what_is_disqualified_and_absent() -> None:
    console = Console(file=StringIO(), width=120)
    console.print(table(RESULT))
    text = " ".join(console.file.getvalue().replace("│", " ").split())  # type: ignore[attr-defined]
    assert "disqualified in round 3: dropped 1" in text
    assert "other is absent: the command mvn is not installed" in text
