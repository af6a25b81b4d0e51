"""The operations of the API: path, parameters, query and result of each."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from console.api import parameters as given
from console.context import Context
from console.read_model.queries import dead_letters, messages, overview, quality, timeline
from console.read_model.results import (
    Letter,
    LetterFilter,
    LetterGroup,
    Message,
    MessageFilter,
    MessageLine,
    Overview,
    Page,
    Point,
    QualityFilter,
    QualityRow,
)
from schemas.quality import LENGTH_MS
from service.wall_clock import now_ms

Answer = Callable[[Context, Any], Awaitable[object]]
"""Returns the result for the parameters; None if there is no such thing."""


class Operation(NamedTuple):
    """One operation; `missing` is the detail of its answer 404, "" if it always has a result."""

    path: str
    summary: str
    parameters: type[given.Parameters]
    result: Any
    answer: Answer
    missing: str = ""

    @property
    def id(self) -> str:
        """Its name in the OpenAPI document."""
        return self.path.strip("/").replace("/", "_").replace("-", "_")


async def _messages(context: Context, wanted: given.OfMessages) -> Page[MessageLine]:
    narrowed = MessageFilter(
        text=wanted.text,
        statuses=wanted.status,
        provider=wanted.provider,
        gateway=wanted.gateway,
        country=wanted.country,
        stalled=wanted.stalled,
        contradicted=wanted.contradicted,
        time=wanted.time,
        since=wanted.since,
        until=wanted.until,
    )
    return await context.run(messages.search, narrowed, cursor=wanted.cursor, limit=wanted.limit)


async def _message(context: Context, wanted: given.OfMessage) -> Message | None:
    return await context.run(timeline.find, wanted.key)


async def _letters(context: Context, wanted: given.PagesOfLetters) -> Page[Letter]:
    narrowed = _letter_filter(wanted)
    return await context.run(
        dead_letters.letters, narrowed, cursor=wanted.cursor, limit=wanted.limit
    )


async def _groups(context: Context, wanted: given.OfLetters) -> list[LetterGroup]:
    return await context.run(dead_letters.groups, _letter_filter(wanted))


async def _letter(context: Context, wanted: given.OfLetter) -> Letter | None:
    return await context.run(dead_letters.find, wanted.id)


async def _quality(context: Context, wanted: given.OfQuality) -> list[QualityRow]:
    names = ("since", "until", "provider", "account", "channel", "gateway", "country", "operator")
    narrowed = QualityFilter(**{name: getattr(wanted, name) for name in names})
    by = list(dict.fromkeys(wanted.by))
    return await context.run(
        quality.rows, narrowed, by, resolution=wanted.resolution, series=wanted.series
    )


async def _overview(context: Context, wanted: given.OfOverview) -> Overview:
    return await context.run(overview.overview, now_ms(), hours=wanted.hours)


async def _throughput(context: Context, wanted: given.OfThroughput) -> list[Point]:
    step = LENGTH_MS[wanted.step]
    return await context.run(overview.points, wanted.since, wanted.until, step)


def _letter_filter(wanted: given.OfLetters) -> LetterFilter:
    names = ("provider", "code", "cause", "resolved", "since", "until")
    return LetterFilter(**{name: getattr(wanted, name) for name in names})


OPERATIONS: Sequence[Operation] = (
    Operation(
        "/messages",
        "Messages that match, the newest first",
        given.OfMessages,
        Page[MessageLine],
        _messages,
    ),
    Operation(
        "/message",
        "One message with its timeline",
        given.OfMessage,
        Message,
        _message,
        missing="the read model holds no message of this key; check it, or it is past retention",
    ),
    Operation(
        "/quality",
        "Delivery quality, added up by dimensions",
        given.OfQuality,
        list[QualityRow],
        _quality,
    ),
    Operation(
        "/dead-letters",
        "Dead letters, the newest first",
        given.PagesOfLetters,
        Page[Letter],
        _letters,
    ),
    Operation(
        "/dead-letters/groups",
        "Dead letters by cause, those with the most open ones first",
        given.OfLetters,
        list[LetterGroup],
        _groups,
    ),
    Operation(
        "/dead-letter",
        "One dead letter",
        given.OfLetter,
        Letter,
        _letter,
        missing="there is no dead letter of this id; see /api/v1/dead-letters",
    ),
    Operation(
        "/overview",
        "Shares by provider, and what is stuck",
        given.OfOverview,
        Overview,
        _overview,
    ),
    Operation(
        "/throughput",
        "Facts received in each interval, by provider and status",
        given.OfThroughput,
        list[Point],
        _throughput,
    ),
)
