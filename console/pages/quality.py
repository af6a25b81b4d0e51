"""The page of delivery quality: providers, operators or countries side by side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.charts.bars import Part, share_bar
from console.charts.heat_map import Cell, Row, heat_map
from console.charts.lines import sparkline
from console.pages import addresses, formats
from console.pages.periods import PRESETS, TODAY, Period, period_of
from console.pages.render import page, render, typed
from console.pages.site import Site
from console.read_model.queries import messages, quality
from console.read_model.results import Dimension, QualityFilter, QualityRow, Resolution
from schemas.quality import start_of
from schemas.webhook import to_iso
from service.wall_clock import now_ms

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS = 24
_LONG_MS = 3 * _DAY_MS

Measure = Literal["time", "share"]
Sort = Literal["messages", "share", "p50", "p95"]
DIMENSIONS: Mapping[Dimension, str] = {
    "provider": "providers",
    "gateway": "gateways",
    "country": "countries",
    "operator": "operators",
    "channel": "channels",
    "account": "accounts",
}
_ROUTES: tuple[Dimension, ...] = ("gateway", "channel")


class Asked(NamedTuple):
    """What the address asks for."""

    wanted: QualityFilter
    by: Dimension
    sort: Sort
    measure: Measure
    period: Period

    @property
    def counts_attempts(self) -> bool:
        """Whether attempts are counted: of a gateway or channel, or of all that took one gateway.

        A message that fell back counts once, and each of its attempts at its own gateway.
        """
        return self.by in _ROUTES or self.wanted.gateway is not None

    @property
    def span(self) -> tuple[int, int | None]:
        """The whole hours that are added up; the end is None if it is now."""
        until = self.period.until
        end = None if until is None else start_of("hour", until - 1) + _HOUR_MS
        return start_of("hour", self.wanted.since), end


def routes(site: Site) -> list[Route]:
    """Return the route of the page of delivery quality."""
    return [Route("/quality", page(site, _compare))]


async def _compare(site: Site, request: Request) -> Response:
    now = now_ms()
    with typed():
        asked = asked_of(request.query_params, now)
    rows = await site.context.run(quality.rows, asked.wanted, (asked.by,))
    series = await _series(site, asked)
    rows = sorted(rows, key=lambda row: _rank(row, asked))
    return render(
        request,
        "quality.html",
        asked=asked,
        rows=rows,
        dimensions=DIMENSIONS,
        presets=PRESETS,
        choices=await site.context.run(messages.choices),
        findings=findings_of(rows, asked),
        sample=sample_of(rows, asked),
        bars={_name(row, asked): _bar(row, asked) for row in rows},
        sparks={_name(row, asked): _spark(row, asked, series) for row in rows},
        counts_of=lambda row: counts_of(row, asked),
        counted="Attempts" if asked.counts_attempts else "Messages",
        name_of=lambda row: _name(row, asked),
        title_of=lambda row: title_of(asked.by, _name(row, asked)),
        messages_of=lambda row: messages_address(asked, _name(row, asked)),
        failed_of=lambda row: failed_address(asked, _name(row, asked)),
        heat=await _heat(site, asked, rows, now),
    )


def asked_of(parameters: Mapping[str, str], now: int) -> Asked:
    """Return what an address asks for; an unknown word counts as the default."""
    period = period_of(parameters, now, TODAY)
    since, until = period.known(now + 1)
    return Asked(
        QualityFilter(
            since,
            until,
            provider=parameters.get("provider") or None,
            gateway=parameters.get("gateway") or None,
            country=parameters.get("country") or None,
        ),
        _word(parameters.get("by"), get_args(Dimension), "provider"),
        _word(parameters.get("sort"), get_args(Sort), "messages"),
        _word(parameters.get("measure"), get_args(Measure), "time"),
        period,
    )


class Counts(NamedTuple):
    """How many messages, or attempts of a route, were delivered and failed."""

    total: int
    delivered: int
    failed: int
    share: float | None


def counts_of(row: QualityRow, asked: Asked) -> Counts:
    """Return the counts of messages, or of attempts."""
    if asked.counts_attempts:
        share = row.delivered / row.attempts if row.attempts else None
        failed = row.failed + row.rejected + row.expired
        return Counts(row.attempts, row.delivered, failed, share)
    return Counts(row.messages, row.messages_delivered, row.messages_failed, row.delivered_share)


def _rank(row: QualityRow, asked: Asked) -> float:
    """Return the place of a row: the most messages, the least delivered or the slowest first."""
    times = row.to_delivered
    match asked.sort:
        case "p50":
            return -(times.p50 if times else -1)
        case "p95":
            return -(times.p95 if times else -1)
        case "share":
            share = counts_of(row, asked).share
            return 2.0 if share is None else share
        case _:
            return -counts_of(row, asked).total


def findings_of(rows: Sequence[QualityRow], asked: Asked) -> list[str]:
    """Return what a person would look for first: the slowest, and the least delivered one.

    A row without a name, or alone, is compared with nothing.
    """
    timed = [row for row in rows if row.to_delivered is not None and _name(row, asked)]
    if len(timed) < 2:  # noqa: PLR2004 - a comparison
        return []
    where = f" to {formats.country(asked.wanted.country)}" if asked.wanted.country else ""
    ordered = sorted(timed, key=lambda row: row.to_delivered.p95 if row.to_delivered else 0)
    fastest, slowest = ordered[0], ordered[-1]
    found = [
        f"Slowest{where}: {_timed(slowest, asked)}.",
        f"Fastest{where}: {_timed(fastest, asked)}.",
    ]
    shares = [counts_of(row, asked).share or 0 for row in timed]
    if min(shares) < max(shares):
        row = timed[shares.index(min(shares))]
        worst = title_of(asked.by, _name(row, asked))
        share, total = formats.share(min(shares)), counts_of(row, asked).total
        found.append(f"Least delivered{where}: {worst}, {share} of {counted(total, asked)}.")
    return found


def sample_of(rows: Sequence[QualityRow], asked: Asked) -> str:
    """Return the period and how many messages, or attempts, the figures are of."""
    total = sum(counts_of(row, asked).total for row in rows)
    of = counted(total, asked)
    begin, end = asked.span
    whole = Period(begin or None, end, "").words
    preset = PRESETS.get(asked.period.text)
    return f"{preset} ({whole}): {of}" if preset else f"{whole}: {of}"


def counted(number: int, asked: Asked) -> str:
    """Return a number of messages, or of attempts, in words."""
    what = "attempt" if asked.counts_attempts else "message"
    return f"{formats.count(number)} {what}{'' if number == 1 else 's'}"


def title_of(by: Dimension, name: str) -> str:
    """Return the value of a dimension for a person."""
    return formats.country(name) if by == "country" else name or "unknown"


def messages_address(asked: Asked, name: str, hour: int | None = None) -> str | None:
    """Return the address of the messages that a row counts, or those of one hour, by event time.

    None if messages cannot be searched by the row.
    """
    if asked.by not in ("provider", "gateway", "country") or not name:
        return None
    wanted = asked.wanted
    own = {"provider": wanted.provider, "gateway": wanted.gateway, "country": wanted.country}
    begin, end = asked.span if hour is None else (hour, hour + _HOUR_MS)
    times = {"time": "event", "from": to_iso(begin), "to": None if end is None else to_iso(end)}
    return addresses.address("/messages", {**own, asked.by: name, **times})


def failed_address(asked: Asked, name: str) -> str | None:
    """Return the address of the failed messages of a row; None for failed attempts.

    A message whose attempt failed may have been delivered by another one.
    """
    address = None if asked.counts_attempts else messages_address(asked, name)
    if address is None:
        return None
    path, _, query = address.partition("?")
    return addresses.changed(path, query, status=formats.FAILED)


def _timed(row: QualityRow, asked: Asked) -> str:
    times = row.to_delivered
    assert times is not None  # noqa: S101 - its callers choose such rows
    half, most = formats.duration(times.p50), formats.duration(times.p95)
    name = title_of(asked.by, _name(row, asked))
    of = formats.count(times.count)
    return f"{name}, 95 % of {of} deliveries within {most}, half within {half}"


async def _series(site: Site, asked: Asked) -> Mapping[str, Mapping[int, QualityRow]]:
    long = asked.wanted.until - asked.wanted.since > _LONG_MS
    resolution: Resolution = "day" if long else "hour"
    rows = await site.context.run(
        quality.rows, asked.wanted, (asked.by,), resolution=resolution, series=True
    )
    return _by_name(rows, asked)


def _by_name(rows: Sequence[QualityRow], asked: Asked) -> Mapping[str, Mapping[int, QualityRow]]:
    found: dict[str, dict[int, QualityRow]] = defaultdict(dict)
    for row in rows:
        if row.at is not None:
            found[_name(row, asked)][row.at] = row
    return found


def _name(row: QualityRow, asked: Asked) -> str:
    return row.by.get(asked.by, "")


def _bar(row: QualityRow, asked: Asked) -> Markup:
    counts = counts_of(row, asked)
    rest = max(0, counts.total - counts.delivered - counts.failed)
    parts = (
        Part("delivered", counts.delivered, "good"),
        Part("under way", rest, "progress"),
        Part("failed", counts.failed, "bad"),
    )
    name = title_of(asked.by, _name(row, asked))
    return share_bar(f"{name}: {formats.share(counts.share)} delivered", parts)


def _spark(row: QualityRow, asked: Asked, series: Mapping[str, Mapping[int, QualityRow]]) -> Markup:
    name = _name(row, asked)
    found = series.get(name, {})
    values = [_value(one, asked) for _, one in sorted(found.items())]
    what = "95 % delivered within" if asked.measure == "time" else "delivered share"
    return sparkline(f"{title_of(asked.by, name)}: {what}, over time", values)


def _value(row: QualityRow, asked: Asked) -> float | None:
    if asked.measure == "share":
        return counts_of(row, asked).share
    return row.to_delivered.p95 if row.to_delivered else None


async def _heat(site: Site, asked: Asked, rows: Sequence[QualityRow], now: int) -> Markup | None:
    """Return the map of the last 24 hours of the period; None if it would be empty."""
    end = min(asked.wanted.until, now + 1)
    last = end - 1 - (end - 1) % _HOUR_MS
    hours = [last - (_HOURS - 1 - place) * _HOUR_MS for place in range(_HOURS)]
    wanted = QualityFilter(
        hours[0],
        end,
        provider=asked.wanted.provider,
        gateway=asked.wanted.gateway,
        country=asked.wanted.country,
    )
    found = await site.context.run(
        quality.rows, wanted, (asked.by,), resolution="hour", series=True
    )
    cells = _by_name(found, asked)
    if not cells:
        return None
    times = [one.to_delivered.p95 for one in found if one.to_delivered]
    slowest = max(times, default=0) or 1
    shown = [name for name in (_name(row, asked) for row in rows) if name in cells] or [*cells]
    drawn = [
        Row(
            title_of(asked.by, name),
            [_cell(cells[name].get(hour), hour, name, asked, slowest) for hour in hours],
        )
        for name in shown
    ]
    what = "95 % delivered within" if asked.measure == "time" else "delivered share"
    return heat_map(f"{what}, by hour of the last day", hours, drawn)


def _cell(row: QualityRow | None, hour: int, name: str, asked: Asked, slowest: float) -> Cell:
    at = f"{to_iso(hour)[11:16]} UTC"
    counts = None if row is None else counts_of(row, asked)
    if row is None or counts is None or not counts.total:
        return Cell(None, f"{at}, no messages")
    share = counts.share or 0.0
    times = formats.duration(row.to_delivered.p95) if row.to_delivered else "an unknown time"
    of = counted(counts.total, asked)
    title = f"{at}, {of}, {formats.share(share)} delivered, 95 % within {times}"
    value = _value(row, asked)
    level = None if value is None else value / slowest if asked.measure == "time" else 1 - share
    return Cell(level, title, messages_address(asked, name, hour))


def _word(text: str | None, words: tuple[str, ...], default: str) -> Any:
    return text if text in words else default
