"""Delivery quality: cells added up by dimensions, over all intervals or by interval."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from console.read_model.results import (
    Dimension,
    Percentiles,
    QualityFilter,
    QualityRow,
    Resolution,
)
from console.read_model.tables import QUALITY
from processors.quality.counts import added, delivered_share
from processors.quality.sketch import quantile
from schemas.codec import decode_quality
from schemas.quality import Counts, QualityCell, Sketch, start_of

_NARROWED_BY = ("account", "channel", "gateway", "country", "operator")
_UNKNOWN = ""


def rows(
    connection: Connection,
    wanted: QualityFilter,
    by: Sequence[Dimension] = ("provider",),
    *,
    resolution: Resolution = "hour",
    series: bool = False,
) -> list[QualityRow]:
    """Return the cells added up by these dimensions, those with the most messages first.

    With `series` each interval of the resolution is a row of its own, in order of time. The first
    interval is the one that holds `since`. A dimension that is unknown is "".
    """
    sums: dict[tuple[Any, ...], Counts] = {}
    for cell in _cells(connection, wanted, resolution):
        group = tuple(getattr(cell, one) or _UNKNOWN for one in by)
        key = (cell.start_at if series else None, *group)
        sums[key] = added(sums.get(key, Counts()), cell)
    found = [
        _row(dict(zip(by, group, strict=True)), at, counts) for (at, *group), counts in sums.items()
    ]
    return sorted(found, key=lambda one: (one.at or 0, -one.messages, *one.by.values()))


def _cells(
    connection: Connection, wanted: QualityFilter, resolution: Resolution
) -> Iterator[QualityCell]:
    columns = QUALITY.c
    query = select(columns.record).where(
        columns.resolution == resolution,
        columns.at >= start_of(resolution, wanted.since),
        columns.at < wanted.until,
    )
    if wanted.provider is not None:
        query = query.where(columns.provider == wanted.provider)
    narrowed = [(name, getattr(wanted, name)) for name in _NARROWED_BY]
    for row in connection.execute(query):
        cell = decode_quality(row.record)
        if all(value in (None, getattr(cell, name) or _UNKNOWN) for name, value in narrowed):
            yield cell


def _row(by: dict[str, str], at: int | None, counts: Counts) -> QualityRow:
    return QualityRow(
        by=by,
        at=at,
        messages=counts.messages,
        messages_delivered=counts.messages_delivered,
        messages_failed=counts.messages_failed,
        without_receipts=counts.without_receipts,
        delivered_share=delivered_share(counts),
        attempts=counts.attempts,
        sent=counts.sent,
        delivered=counts.delivered,
        read=counts.read,
        failed=counts.failed,
        rejected=counts.rejected,
        expired=counts.expired,
        stalled=counts.stalled,
        resumed=counts.resumed,
        contradictions=counts.contradictions,
        recoveries=counts.recoveries,
        fallbacks=counts.fall_backs,
        replies=counts.replies,
        parts=counts.parts,
        failures=counts.reasons,
        costs=counts.cost,
        to_delivered=_percentiles(counts.to_delivered),
        to_read=_percentiles(counts.to_read),
    )


def _percentiles(times: Sketch) -> Percentiles | None:
    shares = [quantile(times, share) for share in (0.5, 0.95, 0.99)]
    known = [one for one in shares if one is not None]
    return Percentiles(times.count, *known) if known else None
