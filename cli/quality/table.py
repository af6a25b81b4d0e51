"""The figures of delivery quality as a table. Pure."""

from collections.abc import Iterable

from cli.output.records import elapsed, printable
from cli.output.tables import PlainTable, name, number
from cli.quality.figures import Query, Row
from processors.quality.sketch import quantile
from schemas.quality import Sketch
from schemas.webhook import to_iso

_NOTHING = "-"


def table(rows: Iterable[Row], query: Query) -> PlainTable:
    """Return a table with one row of figures for each group."""
    found = PlainTable(
        "",
        *((name(query.per),) if query.per != "total" else ()),
        *map(name, query.by),
        *map(number, ("attempts" if query.of_attempts else "messages", "delivered", "failed")),
        *map(number, ("stalled", "p50", "p95", "cost")),
    )
    for row in rows:
        start = () if row.start_at is None else (_time(row.start_at, query),)
        counts = row.counts
        found.add_row(
            *start,
            *map(printable, row.group),
            f"{row.total:,}",
            _percent(row.delivered_share),
            _percent(row.failed_share),
            f"{counts.stalled:,}",
            _took(counts.to_delivered, 0.5),
            _took(counts.to_delivered, 0.95),
            _cost(counts.cost.items()),
        )
    return found


def _time(at: int, query: Query) -> str:
    return to_iso(at)[:10] if query.per == "day" else to_iso(at)[:16].replace("T", " ")


def _percent(share: float | None) -> str:
    return _NOTHING if share is None else f"{100 * share:.1f} %"


def _took(sketch: Sketch, share: float) -> str:
    ms = quantile(sketch, share)
    return _NOTHING if ms is None else elapsed(ms)


def _cost(amounts: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{amount} {currency}" for currency, amount in sorted(amounts)) or _NOTHING
