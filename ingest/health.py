"""What the health page of ingest says: whether it takes webhooks, and how full the spool is. Pure.

Ingest is *ready* while it can make webhooks durable, and *degraded* while that takes the spool, or
while the spool still holds bodies.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ingest.spool.quota import Bounds, Held

LEAVING = "ingest is shutting down"


class Spooled(msgspec.Struct, frozen=True):
    """What the spool holds, and which share of each of its bounds that is."""

    bodies: int
    bytes: int
    max_bytes: int
    size_share: float
    oldest_age_seconds: float
    max_age_seconds: float
    age_share: float


class Health(msgspec.Struct, frozen=True):
    """`problems` say why webhooks are not taken, `warnings` why ingest is degraded."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    spool: Spooled | None = None


def spooled(held: Held, bounds: Bounds, now: int) -> Spooled:
    """How full the spool is; `now` in Unix milliseconds."""
    age = 0.0 if held.oldest is None else max(0, now - held.oldest) / 1000
    return Spooled(
        bodies=held.bodies,
        bytes=held.bytes,
        max_bytes=bounds.max_bytes,
        size_share=round(held.bytes / bounds.max_bytes, 4),
        oldest_age_seconds=age,
        max_age_seconds=bounds.max_age,
        age_share=round(age / bounds.max_age, 4),
    )


def judged(problem: str | None, why_spooling: str | None, spool: Spooled | None) -> Health:
    """The health of one process; `why_spooling` is None while Kafka takes webhooks."""
    if problem is not None:
        return Health((problem,), spool=spool)
    warnings = []
    if spool and why_spooling:
        warnings.append(f"webhooks go to the spool: {why_spooling}")
    if spool and spool.bodies:
        warnings.append(f"{spool.bodies} bodies in the spool are not on Kafka yet")
    return Health((), tuple(warnings), spool)


def together(workers: Sequence[Health], silent: Sequence[str] = ()) -> Health:
    """The health of several workers on one port; `silent` says which of them do not report.

    A connection may come to any of them, so what is wrong with one is wrong with all; one that
    leaves is replaced.
    """
    workers = [one for one in workers if LEAVING not in one.problems]
    if not workers and not silent:
        return Health(("no worker serves yet",))
    fills = [one.spool for one in workers if one.spool]
    return Health(
        _distinct([*silent, *(problem for one in workers for problem in one.problems)]),
        _distinct(warning for one in workers for warning in one.warnings),
        _sum(fills) if fills else None,
    )


def _distinct(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))


def _sum(fills: Sequence[Spooled]) -> Spooled:
    """Their contents added up; the shares are those of the fullest, where 503 comes first."""
    return Spooled(
        bodies=sum(one.bodies for one in fills),
        bytes=sum(one.bytes for one in fills),
        max_bytes=sum(one.max_bytes for one in fills),
        size_share=max(one.size_share for one in fills),
        oldest_age_seconds=max(one.oldest_age_seconds for one in fills),
        max_age_seconds=min(one.max_age_seconds for one in fills),
        age_share=max(one.age_share for one in fills),
    )
