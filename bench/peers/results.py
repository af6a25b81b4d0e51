"""Measured runs of a job, their medians and ratios; a file for each job in bench/results. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import msgspec
from rich.table import Table
from rich.text import Text


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a subject; `wrong` says how its outputs differ from the expected ones."""

    subject: str
    round: int
    figures: dict[str, float]
    wrong: str = ""


class Subject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A program that does the job: `against` is the subject of Bluetick that it is compared to."""

    name: str
    settings: str
    against: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The runs of one job, and all that is needed to repeat them."""

    job: str
    what: str
    command: str
    machine: str
    sizes: dict[str, int]
    rounds: int
    versions: dict[str, str]
    subjects: list[Subject]
    runs: list[Run]
    absent: dict[str, str] = {}
    quick: bool = False


class Spread(NamedTuple):
    """The median of some values, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{shown(self.median)} ({shown(self.least)} to {shown(self.most)})"


def counted(result: Result, subject: str) -> dict[int, Mapping[str, float]]:
    """Return the figures of a subject's valid runs by round."""
    return {
        run.round: run.figures for run in result.runs if run.subject == subject and not run.wrong
    }


def disqualified(result: Result) -> list[Run]:
    """Return the runs whose outputs are not the expected ones."""
    return [run for run in result.runs if run.wrong]


def spread(result: Result, subject: str, figure: str) -> Spread | None:
    """Return a figure of a subject over its valid runs; None without any."""
    found = [one[figure] for one in counted(result, subject).values() if figure in one]
    return Spread.of(found) if found else None


def ratio(result: Result, subject: str, figure: str, against: str) -> Spread | None:
    """Return a figure of `against`, Bluetick's, divided by a peer's within each round."""
    ours, theirs = counted(result, against), counted(result, subject)
    found = [
        ours[number][figure] / theirs[number][figure]
        for number in ours.keys() & theirs.keys()
        if theirs[number].get(figure) and figure in ours[number]
    ]
    return Spread.of(found) if found else None


def table(result: Result) -> Table:
    """Return a table with a row for each subject and figure."""
    shown_table = Table(title=f"{result.job}: {result.what}", show_lines=False)
    for heading in ("", "median (range)", "Bluetick's share of it, within a round"):
        shown_table.add_column(heading, justify="left" if not heading else "right")
    for subject in result.subjects:
        shown_table.add_row(Text(subject.name, style="bold"), "", "")
        for row in _rows(result, subject):
            shown_table.add_row(*row)
        for run in disqualified(result):
            if run.subject == subject.name:
                why = f"  disqualified in round {run.round}: {run.wrong}"
                shown_table.add_row(Text(why, style="red"), "", "")
        shown_table.add_section()
    for name, reason in result.absent.items():
        shown_table.add_row(Text(f"{name} is absent: {reason}", style="bold"), "", "")
    return shown_table


def _rows(result: Result, subject: Subject) -> Iterator[tuple[str, str, str]]:
    figures = {name: None for one in counted(result, subject.name).values() for name in one}
    for name in figures:
        compared = ratio(result, subject.name, name, subject.against) if subject.against else None
        yield f"  {name}", str(spread(result, subject.name, name)), str(compared or "")


def notes(result: Result) -> list[str]:
    """Return the settings of the subjects, the versions and the sizes, one sentence each."""
    settings = [f"{one.name}: {one.settings}" for one in result.subjects]
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    sizes = ", ".join(f"{name} {size:,}" for name, size in result.sizes.items())
    return [*settings, f"versions: {versions}", f"{sizes}; rounds {result.rounds}", result.machine]


_THREE = 100


def shown(value: float) -> str:
    """Return a figure with about three digits."""
    return f"{value:,.0f}" if abs(value) >= _THREE or value == round(value) else f"{value:.3g}"
