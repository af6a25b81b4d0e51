"""Cells of `quality`, chosen by time and added up into rows. Pure.

A range is made of the largest periods that are whole in it, so that it is exact to the minute and
reaches back as far as any period is kept: days, at its ends hours, and at their ends minutes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from msgspec.structs import asdict

from processors.quality.counts import added, delivered_share, share
from processors.quality.sketch import with_percentiles
from schemas.quality import LENGTH_MS, UNNAMED, Counts, Period, QualityCell, Sketch, start_of

Dimension = Literal["provider", "account", "channel", "gateway", "country", "operator"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Step = Literal["hour", "day", "total"]

_ABOVE: dict[Period, Period] = {"minute": "hour", "hour": "day"}
_OF_ATTEMPTS = {"channel", "gateway"}


class Query(NamedTuple):
    """What is asked for; `since` (Unix ms) is included, `until` is not, None has no end."""

    by: Sequence[Dimension] = ("provider",)
    since: int = 0
    until: int | None = None
    per: Step = "total"

    @property
    def of_attempts(self) -> bool:
        """Whether rows count attempts: a message may have some by several channels."""
        return not _OF_ATTEMPTS.isdisjoint(self.by)


class Row(NamedTuple):
    """The figures of one group; `start_at` is that of its hour or day, None in total."""

    start_at: int | None
    group: tuple[str, ...]
    counts: Counts
    of_attempts: bool

    @property
    def total(self) -> int:
        """The messages, or attempts, that are counted."""
        return self.counts.attempts if self.of_attempts else self.counts.messages

    @property
    def delivered_share(self) -> float | None:
        """The share that was delivered, of those of which a receipt is due."""
        one = self.counts
        if self.of_attempts:
            return share(one.delivered, one.attempts)
        return delivered_share(one)

    @property
    def failed_share(self) -> float | None:
        """The share that failed."""
        one = self.counts
        if self.of_attempts:
            return share(one.failed + one.rejected + one.expired, one.attempts)
        return share(one.messages_failed, one.messages)


def rows(cells: Iterable[QualityCell], query: Query) -> list[Row]:
    """Add up the cells of a query; sorted by time, and so that providers are side by side."""
    sums: dict[tuple[int | None, tuple[str, ...]], Counts] = {}
    for cell in cells:
        if is_chosen(cell, query):
            key = _start(cell, query), tuple(_named(getattr(cell, name)) for name in query.by)
            sums[key] = added(sums.get(key, Counts()), cell)
    found = [Row(*key, counts, query.of_attempts) for key, counts in sums.items()]
    return sorted(found, key=lambda row: (row.start_at or 0, _order(row.group, query)))


def is_chosen(cell: QualityCell, query: Query) -> bool:
    """Whether the cell's period is in the range, and no larger one that is holds it."""
    if not _is_within(cell.period, cell.start_at, query):
        return False
    above = _ABOVE.get(cell.period)
    if above is None or (above == "day" and query.per == "hour"):
        return above is not None or query.per != "hour"
    return not _is_within(above, start_of(above, cell.start_at), query)


def as_json(found: Sequence[Row], query: Query) -> dict[str, Any]:
    """Return the rows with all of their counts, as one JSON value."""
    return {
        "by": [*query.by],
        "from": query.since,
        "to": query.until,
        "per": query.per,
        "rows": [_json_of(row, query) for row in found],
    }


def _json_of(row: Row, query: Query) -> dict[str, Any]:
    group: Mapping[str, str] = dict(zip(query.by, row.group, strict=True))
    counts = asdict(row.counts)
    for name in ("to_delivered", "to_read"):
        sketch: Sketch = with_percentiles(counts[name])
        counts[name] = {key: one for key, one in asdict(sketch).items() if key != "bins"}
    start = {} if row.start_at is None else {"start_at": row.start_at}
    shares = {"delivered_share": row.delivered_share, "failed_share": row.failed_share}
    return {**group, **start, **counts, **shares}


def _is_within(period: Period, start: int, query: Query) -> bool:
    end = start + LENGTH_MS[period]
    return start >= query.since and (query.until is None or end <= query.until)


def _start(cell: QualityCell, query: Query) -> int | None:
    return None if query.per == "total" else start_of(query.per, cell.start_at)


def _named(value: str | None) -> str:
    return UNNAMED if value is None else value


def _order(group: tuple[str, ...], query: Query) -> tuple[str, ...]:
    """Return the sort key of a group: its provider last."""
    named = sorted(zip(query.by, group, strict=True), key=lambda one: one[0] == "provider")
    return tuple(value for _, value in named)
