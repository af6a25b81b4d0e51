"""The outcomes of trials, as a table for people and as JSON."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

_COLUMNS: tuple[str, ...] = (
    "scenario",
    "trials",
    "faults",
    "failed",
    "bound",
    "seconds",
    "seeds",
)
_RULE_OF_THREE = 3  # no failure in n trials: below 3/n, at 95 %


@dataclass
class Affected:
    """The effect of a fault on posted webhooks; all times in seconds.

    `lasted`: its duration. `again`: from its end until statuses were in time. `latest`: the longest
    from a 200 to its status. `refused`: for each ingest, how many of how many answers were not 200.
    """

    fault: str
    lasted: float
    again: float
    latest: float
    refused: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class HonestTraffic:
    """Honest traffic during hostile bodies.

    The number of its facts and of the unseen ones; the 99th percentile from a 200 to its status,
    seconds; the processes that ended; by process the largest resident memory, MB.
    """

    honest: int
    unseen: int
    p99: float
    ended: list[str]
    resident: dict[str, int]


@dataclass
class Outcome:
    """The outcome of one trial. `counted` is the fault that the report counts.

    `extra` holds further options of the command line.
    """

    scenario: str
    seed: int
    counted: str
    seconds: float
    did: dict[str, int] = field(default_factory=dict)
    measured: dict[str, list[float]] = field(default_factory=dict)
    affected: list[Affected] = field(default_factory=list)
    honest_traffic: HonestTraffic | None = None
    failures: list[str] = field(default_factory=list)
    extra: str = ""

    @property
    def command(self) -> str:
        """The command that runs this trial again."""
        options = f"--seed {self.seed} --trials 1 --only {self.scenario}"
        return f"python -m tests.faults {self.extra}{options}"


@dataclass(frozen=True)
class Verdict:
    """A negative control: its outcomes with a rule broken, and with the rule kept."""

    rule: str
    broken: Outcome
    kept: Outcome
    named: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        failures = self.broken.failures
        named = all(any(text in one for one in failures) for text in self.named)
        return named and bool(noticed(self.broken)) and not self.kept.failures


def line(outcome: Outcome) -> str:
    """Return one trial in one line."""
    did = ", ".join(f"{count} {what}" for what, count in sorted(outcome.did.items()) if count)
    verdict = "FAILED" if outcome.failures else "ok"
    return (
        f"{verdict:6} {outcome.scenario}, seed {outcome.seed}, {outcome.seconds:.0f} s: {did}"
        + "".join(f"\n       - {failure}" for failure in outcome.failures)
    )


def verdict_line(verdict: Verdict) -> str:
    """Return a negative control in two lines: the rule broken, and the rule kept."""
    found = "; ".join(noticed(verdict.broken)) or f"no difference: {verdict.broken.failures}"
    kept = "passes" if not verdict.kept.failures else f"FAILED: {verdict.kept.failures}"
    good = "ok" if verdict.good else "WRONG"
    return (
        f"{good:6} control {verdict.rule}, seed {verdict.broken.seed}: broken, the suite finds "
        f"{found}\n       kept, it {kept}"
    )


def table(outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> str:
    """Return all outcomes, one line for each scenario."""
    rows = [_COLUMNS, *(_row(group) for group in _grouped(outcomes).values())]
    lines = [*_aligned(rows), ""] if outcomes else []
    lines += _affected(outcomes) + _honest_traffic(outcomes)
    lines += [*_points(outcomes), *_times(outcomes), *map(verdict_line, verdicts)]
    failed = [one for one in outcomes if one.failures]
    lines += [f"again: {one.command}" for one in failed]
    return "\n".join(lines)


def write(path: Path, outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> None:
    """Write all outcomes as JSON."""
    content = {
        "scenarios": [
            dict(zip(_COLUMNS, _row(group), strict=True)) for group in _grouped(outcomes).values()
        ],
        "seconds": {name: _spread(values) for name, values in _measured(outcomes).items()},
        "controls": [asdict(one) | {"good": one.good} for one in verdicts],
        "trials": [asdict(one) for one in outcomes],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _grouped(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.scenario].append(outcome)
    return groups


def _row(group: Sequence[Outcome]) -> tuple[str, ...]:
    counted = group[0].counted
    faults = sum(one.did.get(counted, 0) for one in group)
    failed = sum(bool(one.failures) for one in group)
    tried = faults if counted else len(group)
    bound = "-" if failed or not tried else f"{min(1, _RULE_OF_THREE / tried):.1%} a fault"
    seeds = [one.seed for one in group]
    return (
        group[0].scenario,
        f"{len(group)}",
        f"{faults} {counted}" if counted else "none",
        f"{failed}",
        bound,
        f"{sum(one.seconds for one in group):.0f}",
        f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}",
    )


def _affected(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one line for each fault that affected posted webhooks."""
    those = [one for outcome in outcomes for one in outcome.affected]
    if not those:
        return []
    rows: list[tuple[str, ...]] = [
        ("fault", "lasted", "statuses in time again after", "latest status", "no 200, by ingest")
    ]
    for one in those:
        seconds = (f"{value:.1f} s" for value in (one.lasted, one.again, one.latest))
        refused = ", ".join(f"{number} of {total}" for number, total in one.refused)
        rows.append((one.fault, *seconds, refused))
    return [*_aligned(rows), ""]


def _honest_traffic(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one line on the honest traffic during each kind of hostile bodies."""
    rows: list[tuple[str, ...]] = [
        ("hostile", "honest facts", "unseen", "p99", "ended", "largest RSS in MB")
    ]
    for outcome in outcomes:
        if one := outcome.honest_traffic:
            resident = ", ".join(f"{name} {size}" for name, size in one.resident.items())
            figures = (f"{one.honest}", f"{one.unseen}", f"{one.p99:.1f} s")
            rows.append((outcome.scenario, *figures, ", ".join(one.ended) or "none", resident))
    return [*_aligned(rows), ""] if len(rows) > 1 else []


def _points(outcomes: Sequence[Outcome]) -> list[str]:
    """Return how often each failpoint was reached."""
    hits = Counter[str]()
    for outcome in outcomes:
        hits.update({name: n for name, n in outcome.did.items() if "." in name})
    return [f"{count:5} at {name}" for name, count in sorted(hits.items())]


def _times(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{name}: {len(values)} times, median {median(values):.1f} s, longest {max(values):.1f} s"
        for name, values in _measured(outcomes).items()
    ]


def _measured(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    measured: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for name, values in outcome.measured.items():
            measured[name] += values
    return measured


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"times": len(values), "median": median(values), "longest": max(values)}


def noticed(outcome: Outcome) -> list[str]:
    """Return the failures that show lost, doubled or changed records, without examples."""
    words = (" lost", " doubled", " changed or invented")
    return [
        failure.partition(", such as")[0]
        for failure in outcome.failures
        if any(word in failure.partition(", such as")[0] for word in words)
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
