"""The pages of messages: the search, and one message with its timeline."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.access.guard import may_reveal
from console.masking import masked
from console.pages import message_picture
from console.pages.periods import PRESETS, Period, period_of
from console.pages.render import failure, page, render, typed
from console.pages.site import Site
from console.read_model.queries import messages as queries
from console.read_model.queries import timeline
from console.read_model.results import MessageFilter
from service.wall_clock import now_ms

_PAGE = 50


def routes(site: Site) -> list[Route]:
    """Return the routes of the pages of messages."""
    return [
        Route("/messages", page(site, _search)),
        Route("/messages/{key:path}", page(site, _one)),
    ]


async def _search(site: Site, request: Request) -> Response:
    with typed():
        asked, period = filter_of(request.query_params, now_ms())
    cursor = request.query_params.get("cursor")
    found = await site.context.run(queries.search, asked, cursor=cursor, limit=_PAGE)
    return render(
        request,
        "messages.html",
        asked=asked,
        period=period,
        presets=PRESETS,
        lines=masked(found.items, reveal=may_reveal(request)),
        next=found.next,
        cursor=cursor,
        choices=await site.context.run(queries.choices),
    )


async def _one(site: Site, request: Request) -> Response:
    key = request.path_params["key"]
    found = await site.context.run(timeline.find, key)
    if found is None:
        sentence = (
            f"There is no message {key}. It may be older than the console's retention, or not "
            "read yet: search for its id."
        )
        return failure(request, 404, sentence)
    message = masked(found, reveal=may_reveal(request))
    now = now_ms()
    return render(
        request,
        "message.html",
        message=message,
        story=message_picture.story(message, now),
        picture=message_picture.picture(message, now),
        anchor=message_picture.anchor,
        fact_anchor=message_picture.fact_anchor,
    )


class Asked(NamedTuple):
    """The filter of an address, and its period as it was written."""

    filter: MessageFilter
    period: Period


def filter_of(parameters: Mapping[str, str], now: int) -> Asked:
    """Return the filter that an address describes; raises `Problem` for a text that is no time."""
    period = period_of(parameters, now)
    getlist = getattr(parameters, "getlist", lambda name: [parameters[name]])
    statuses = [one for one in getlist("status") if one] if "status" in parameters else []
    return Asked(
        MessageFilter(
            text=parameters.get("q", "").strip() or None,
            statuses=tuple(statuses),
            provider=parameters.get("provider") or None,
            gateway=parameters.get("gateway") or None,
            country=parameters.get("country") or None,
            stalled=parameters.get("stalled") == "1",
            contradicted=parameters.get("contradicted") == "1",
            time="event" if parameters.get("time") == "event" else "seen",
            since=period.since,
            until=period.until,
        ),
        period,
    )
