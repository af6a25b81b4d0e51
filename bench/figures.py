"""Measured figures with their targets, as a table and as JSON lines."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

_WHOLE = 100  # larger values are shown without a fraction


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure; `most` or `least` is its target, if any."""

    benchmark: str
    case: str
    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the value misses its target."""
        too_much = self.most is not None and self.value > self.most
        return too_much or (self.least is not None and self.value < self.least)

    @property
    def target(self) -> str:
        """The target as text; empty without one."""
        if self.most is not None:
            return f"≤ {_shown(self.most)}"
        return "" if self.least is None else f"≥ {_shown(self.least)}"


class Report:
    """The figures of one case, in the order of measurement."""

    def __init__(self, benchmark: str, case: str) -> None:
        self.figures: list[Figure] = []
        self._benchmark = benchmark
        self._case = case

    def add(
        self,
        name: str,
        value: float,
        unit: str = "",
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        one = Figure(
            benchmark=self._benchmark,
            case=self._case,
            name=name,
            value=value,
            unit=unit,
            most=most,
            least=least,
        )
        self.figures.append(one)

    def spread(self, name: str, milliseconds: Iterable[float]) -> None:
        """Add latencies: their number and quantiles."""
        measured = list(milliseconds)
        self.add(f"{name}: observations", len(measured))
        for label, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
            self.add(f"{name}: {label}", quantile(measured, share), "ms")


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value that a share of all values does not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def table(figures: Iterable[Figure]) -> Table:
    """Return a table of all figures by case; a missed target is red."""
    shown = Table("", title="measured on this machine under its present load")
    for heading in ("value", "target"):
        shown.add_column(heading, justify="right")
    for (benchmark, case), group in groupby(figures, lambda one: (one.benchmark, one.case)):
        shown.add_row(Text(f"{benchmark}: {case}", style="bold"))
        for one in group:
            value = f"{_shown(one.value)} {one.unit}".rstrip()
            style = "red" if one.missed else None
            shown.add_row(f"  {one.name}", value, one.target, style=style)
        shown.add_section()
    return shown


def append(file: Path, figures: Iterable[Figure]) -> None:
    """Append a JSON line for each figure."""
    with file.open("ab") as output:
        output.writelines(msgspec.json.encode(one) + b"\n" for one in figures)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _WHOLE or value == round(value) else f"{value:.3g}"
