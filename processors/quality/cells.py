"""Changes to cells: each is added to the cell of its minute, hour and day. Pure.

A cell counts by name only so many reasons, and a route and period only so many operators, in the
order in which they arrive; further ones are `other`. Periods that are past their retention take no
more changes, and are deleted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from processors.quality.counts import added, is_empty
from processors.quality.sketch import with_percentiles
from schemas.codec import decode_quality, encode
from schemas.quality import (
    CELL_VERSION,
    OTHER,
    PERIODS,
    Period,
    QualityCell,
    QualityChange,
    Route,
    beginning_of_keys,
    cell_key,
    operators_key,
    route_of,
    start_of,
)

_DAY = 24 * 3_600_000
_END = "\x7f"  # keys are ASCII


class Limits(NamedTuple):
    """How many names a cell counts, and for how many days each period is kept."""

    names: int
    days: Mapping[Period, int]

    def first_kept(self, period: Period, now: int) -> int:
        """Return the beginning of the first period that is kept, Unix milliseconds."""
        return start_of(period, now - self.days[period] * _DAY)


class Cells(NamedTuple):
    """The stored cells: `read` reads many, `keys` lists the first ones in a range of keys."""

    read: Callable[[Sequence[str]], list[bytes | None]]
    keys: Callable[[str, str, int], list[str]]


@dataclass(slots=True)
class Added:
    """The result of a batch of changes: the new cells, None for one that is empty now.

    `past` counts the changes that came after the retention of their minute.
    """

    cells: dict[bytes, bytes | None] = field(default_factory=dict)
    past: int = 0


def applied(changes: Iterable[QualityChange], stored: Cells, limits: Limits, now: int) -> Added:
    """Add changes to the stored cells; `now` is Kafka's time, Unix milliseconds."""
    wanted = list(changes)
    batch, result = _Batch(stored, limits), Added()
    firsts = {period: limits.first_kept(period, now) for period in PERIODS}
    kept = [(period, one) for one in wanted for period in PERIODS if one.start_at >= firsts[period]]
    result.past = sum(one.start_at < firsts["minute"] for one in wanted)
    batch.load(kept)
    for period, one in kept:
        batch.add(period, one)
    result.cells = batch.encoded()
    return result


def expired(stored: Cells, limits: Limits, now: int, most: int) -> list[str]:
    """Return the keys of at most that many cells whose period is no longer kept."""
    found: list[str] = []
    for period in PERIODS:
        end = beginning_of_keys(period, limits.first_kept(period, now))
        found += stored.keys(f"{period}/", end, most - len(found))
    return found


class _Batch:
    """The cells of a batch, read once and written once."""

    def __init__(self, stored: Cells, limits: Limits) -> None:
        self._stored = stored
        self._limits = limits
        self._cells: dict[str, QualityCell | None] = {}
        self._touched: set[str] = set()
        self._operators: dict[str, set[str]] = {}

    def load(self, changes: Iterable[tuple[Period, QualityChange]]) -> None:
        """Read the cells of all changes at once."""
        keys = dict.fromkeys(_key(period, one, one.operator) for period, one in changes)
        self._load(list(keys))

    def _load(self, keys: Sequence[str]) -> None:
        for key, value in zip(keys, self._stored.read(keys), strict=True):
            self._cells[key] = None if value is None else decode_quality(value)

    def add(self, period: Period, change: QualityChange) -> None:
        """Add a change to the cell of its period."""
        operator = self._operator(period, change)
        key = _key(period, change, operator)
        if key not in self._cells:
            self._load([key])
        cell = self._cells[key] or _new_cell(period, change, operator)
        self._cells[key] = added(cell, change, names=self._limits.names)
        self._touched.add(key)

    def encoded(self) -> dict[bytes, bytes | None]:
        """Return the cells that changed, with their percentiles."""
        touched = {key: self._cells[key] for key in sorted(self._touched)}
        return {key.encode(): self._encoded(cell) for key, cell in touched.items()}

    def _operator(self, period: Period, change: QualityChange) -> str | None:
        """Return the operator whose cell the change belongs to, or `other`."""
        operator = change.operator
        if operator in (None, OTHER):
            return operator
        if self._cells[_key(period, change, operator)] is not None:
            return operator
        named = self._named(period, start_of(period, change.start_at), route_of(change))
        if operator not in named and len(named) >= self._limits.names:
            return OTHER
        named.add(operator)
        return operator

    def _encoded(self, cell: QualityCell | None) -> bytes | None:
        """Return the record of a cell; None deletes it.

        An empty cell keeps its operator while there is no room for another one: what is counted as
        `other` then is taken away there later, and not from a cell that has got the room since.
        """
        if cell is None or (is_empty(cell) and not self._keeps_name(cell)):
            return None
        return encode(
            replace(
                cell,
                to_delivered=with_percentiles(cell.to_delivered),
                to_read=with_percentiles(cell.to_read),
            )
        )

    def _keeps_name(self, cell: QualityCell) -> bool:
        if cell.operator in (None, OTHER):
            return False
        return len(self._named(cell.period, cell.start_at, route_of(cell))) >= self._limits.names

    def _named(self, period: Period, start: int, route: Route) -> set[str]:
        """Return the operators that have a cell in the route and period."""
        prefix = operators_key(period, start, route)
        if prefix not in self._operators:
            # Besides these, `other` and `-` may have one.
            keys = self._stored.keys(prefix, prefix + _END, self._limits.names + 2)
            names = {key.rpartition("/")[2] for key in keys}
            self._operators[prefix] = names - {OTHER, "-"}
        return self._operators[prefix]


def _key(period: Period, change: QualityChange, operator: str | None) -> str:
    return cell_key(period, start_of(period, change.start_at), route_of(change), operator)


def _new_cell(period: Period, change: QualityChange, operator: str | None) -> QualityCell:
    route: Route = route_of(change)
    return QualityCell(
        version=CELL_VERSION,
        period=period,
        start_at=start_of(period, change.start_at),
        **route._asdict(),
        operator=operator,
    )
