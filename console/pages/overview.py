"""The first page: throughput, lag, what is stuck or dead, and the delivered share by provider."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.charts.bars import Part, share_bar
from console.charts.lines import Series, line_chart
from console.pages import addresses, formats
from console.pages.findings import (
    alarms_in,
    arrivals_in,
    groups_in,
    ingest_in,
    lag_of,
    silences_in,
    spooled_in,
    waiting_of,
)
from console.pages.render import page, render
from console.pages.site import Site
from console.pages.verdict import verdict
from console.read_model.queries import overview as queries
from console.read_model.results import Point, ProviderShare
from schemas.processor_list import PROCESSORS
from schemas.webhook import to_iso
from service.wall_clock import now_ms

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_MINUTES = 60
_HOURS = 24
_GROUPS = tuple(one.name for one in PROCESSORS)


def routes(site: Site) -> list[Route]:
    """Return the routes of the first page, and of its part about the services."""
    return [Route("/", page(site, _overview)), Route("/overview/services", page(site, _services))]


async def _overview(site: Site, request: Request) -> Response:
    now = now_ms()
    found = await site.context.run(queries.overview, now)
    hour = await _points(site, now, _MINUTES, _MINUTE_MS)
    day = await _points(site, now, _HOURS, _HOUR_MS)
    return render(
        request,
        "overview.html",
        found=found,
        verdict=verdict(found, site.loading_problem(), None, _GROUPS),
        since=to_iso(found.since),
        bars={one.provider: _bar(one) for one in found.providers},
        failed={one.provider: _failed(one) for one in found.providers},
        failed_address=lambda provider: _failed_address(provider, found.since),
        hour=facts_chart("Facts per minute in the last hour", hour, now, _MINUTES, _MINUTE_MS),
        day=facts_chart("Facts per hour in the last day", day, now, _HOURS, _HOUR_MS),
        providers=providers_in(hour, day),
    )


async def _services(site: Site, request: Request) -> Response:
    parts = await site.findings.parts()
    found = await site.context.run(queries.overview, now_ms())
    alarms = alarms_in(parts)
    return render(
        request,
        "overview_services.html",
        verdict=verdict(found, site.loading_problem(), [*alarms, *silences_in(parts)], _GROUPS),
        ingest=ingest_in(parts),
        arrivals=arrivals_in(parts),
        spooled=spooled_in(parts),
        groups=groups_in(parts),
        lag_of=lag_of,
        waiting_of=waiting_of,
        alarms=alarms,
    )


async def _points(site: Site, now: int, count: int, step: int) -> list[Point]:
    since = now - now % step - (count - 1) * step
    return await site.context.run(queries.points, since, now + 1, step)


def providers_in(*points: Iterable[Point]) -> list[str]:
    """Return the providers of some points, sorted: the order of their lines' colours."""
    return sorted({point.provider for some in points for point in some})


def facts_chart(label: str, points: Sequence[Point], now: int, count: int, step: int) -> Markup:
    """Return a chart of facts by provider, with 0 where a provider reported none."""
    begin = now - now % step - (count - 1) * step
    times = [begin + place * step for place in range(count)]
    facts: dict[str, dict[int, int]] = defaultdict(dict)
    for point in points:
        facts[point.provider][point.at] = sum(point.facts.values())
    series = [Series(one, [facts[one].get(at, 0) for at in times]) for one in providers_in(points)]
    return line_chart(label, times, series, formats.short)


def _bar(one: ProviderShare) -> Markup:
    counts = {"good": 0, "progress": 0, "bad": 0, "aside": 0}
    for status, number in one.statuses.items():
        if status != "none":  # inbound
            counts[formats.tone(status)] += number
    names = {"good": "delivered", "progress": "under way", "bad": "failed", "aside": "other"}
    parts = [Part(names[tone], number, tone) for tone, number in counts.items()]
    return share_bar(f"{one.provider}: {formats.share(one.delivered_share)} delivered", parts)


def _failed(one: ProviderShare) -> int:
    return sum(one.statuses.get(status, 0) for status in formats.FAILED)


def _failed_address(provider: str, since: int) -> str:
    statuses = [("status", one) for one in formats.FAILED]
    wanted = [("provider", provider), *statuses, ("from", to_iso(since))]
    return addresses.address("/messages", wanted)
