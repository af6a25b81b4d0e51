"""The overview: shares by provider, what is stuck, facts by minute, and how far the loader is."""

from collections import defaultdict

from sqlalchemy import Connection, case, func, select

from console.read_model.results import Overview, Point, Progress, ProviderShare
from console.read_model.tables import (
    ABOUT,
    DEAD_LETTERS,
    FACT_COUNTS,
    MESSAGE_COUNTS,
    MESSAGE_GROUPS,
    POSITIONS,
)

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_NEW_MS = 15 * MINUTE_MS  # as in the alert BluetickDeadLetters

LOADED = "loaded"
"""The row of `about` that says that the first load has ended."""

_DELIVERED = ("delivered", "read", "played")


def overview(connection: Connection, now: int, *, hours: int = 24) -> Overview:
    """Return the numbers of the first page; `now` is in Unix milliseconds.

    `stalled`, `contradicted` and `dead_letters_open` count all that the read model holds.
    """
    since = now - now % HOUR_MS - hours * HOUR_MS
    shares = provider_shares(connection, since, now + HOUR_MS)
    groups = MESSAGE_GROUPS.c
    stalled, contradicted = connection.execute(
        select(
            func.sum(groups.messages * groups.stalled),
            func.sum(groups.messages * groups.contradicted),
        )
    ).one()
    is_open = select(func.count()).select_from(DEAD_LETTERS).where(DEAD_LETTERS.c.resolved == "")
    is_new = DEAD_LETTERS.c.written_at >= now - _NEW_MS
    return Overview(
        now=now,
        since=since,
        hours=hours,
        messages=sum(one.messages for one in shares),
        stalled=int(stalled or 0),
        contradicted=int(contradicted or 0),
        dead_letters_open=connection.execute(is_open).scalar_one(),
        dead_letters_new=connection.execute(is_open.where(is_new)).scalar_one(),
        providers=shares,
        progress=progress(connection),
    )


def provider_shares(connection: Connection, since: int, until: int) -> list[ProviderShare]:
    """Return the messages first seen in whole hours from `since` to `until`, by provider."""
    columns = MESSAGE_COUNTS.c
    query = (
        select(columns.provider, columns.status, func.sum(columns.messages).label("messages"))
        .where(columns.hour >= since - since % HOUR_MS, columns.hour < until)
        .group_by(columns.provider, columns.status)
    )
    by_provider: dict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        by_provider[row.provider][row.status or "none"] = int(row.messages)
    return [_share(provider, found) for provider, found in sorted(by_provider.items())]


def points(connection: Connection, since: int, until: int, step: int = MINUTE_MS) -> list[Point]:
    """Return the facts received from `since` to `until`, by provider and interval of `step` ms.

    `step` is a multiple of a minute, such as `HOUR_MS` or `DAY_MS`; intervals without facts are
    left out.
    """
    columns = FACT_COUNTS.c
    at = (columns.minute - columns.minute % step).label("at")
    query = (
        select(at, columns.provider, columns.status, func.sum(columns.facts).label("facts"))
        .where(columns.minute >= since - since % step, columns.minute < until)
        .group_by(at, columns.provider, columns.status)
    )
    found: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        found[int(row.at), row.provider][row.status] = int(row.facts)
    return [Point(at, provider, facts) for (at, provider), facts in sorted(found.items())]


def position(connection: Connection) -> int:
    """Return a number that grows with every record that the read model has read."""
    return int(connection.execute(select(func.sum(POSITIONS.c.next_offset))).scalar() or 0)


def progress(connection: Connection) -> Progress:
    """Return how far the read model has read the topics."""
    columns = POSITIONS.c
    left = columns.end_offset - columns.next_offset
    query = select(
        func.sum(case((left > 0, left), else_=0)).label("behind"),
        func.sum(columns.end_offset).label("ends"),
        func.min(columns.looked_at).label("looked_at"),
    )
    row = connection.execute(query).one()
    loaded = connection.execute(select(ABOUT.c.value).where(ABOUT.c.name == LOADED)).first()
    behind, ends = int(row.behind or 0), int(row.ends or 0)
    return Progress(
        loading=loaded is None,
        behind=behind,
        share=1 - behind / ends if ends else 1.0,
        looked_at=row.looked_at,
    )


def _share(provider: str, statuses: dict[str, int]) -> ProviderShare:
    messages = sum(statuses.values())
    delivered = sum(statuses.get(one, 0) for one in _DELIVERED)
    # Inbound messages have no status, and are not delivered to anybody.
    outbound = messages - statuses.get("none", 0)
    return ProviderShare(provider, messages, statuses, delivered / outbound if outbound else None)
