"""The health of ingest: whether it accepts webhooks, and how full the spool is. Pure.

Ingest is *ready* while it can make webhooks durable. It is *degraded* while it needs the spool for
that, or while the spool still holds bodies.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ingest.spool.quota import Bounds, Held

SHUTTING_DOWN = "ingest is shutting down"


class Spooled(msgspec.Struct, frozen=True):
    """The contents of the spool, absolute and as shares of its bounds."""

    bodies: int
    bytes: int
    max_bytes: int
    size_share: float
    oldest_age_seconds: float
    max_age_seconds: float
    age_share: float


class Health(msgspec.Struct, frozen=True):
    """Why a process refuses webhooks (`problems`), and why it is degraded (`warnings`)."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    spool: Spooled | None = None


def spooled(held: Held, bounds: Bounds, now: int) -> Spooled:
    """Return how full the spool is; `now` is in Unix milliseconds."""
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
    """Return the health of one process; `why_spooling` is None while Kafka accepts webhooks."""
    if problem is not None:
        return Health((problem,), spool=spool)
    warnings = []
    if spool and why_spooling:
        warnings.append(f"webhooks go to the spool: {why_spooling}")
    if spool and spool.bodies:
        warnings.append(f"{spool.bodies} bodies in the spool are not on Kafka yet")
    return Health((), tuple(warnings), spool)


def together(workers: Sequence[Health], silent: Sequence[str] = ()) -> Health:
    """Return the health of several workers on one port.

    `silent` has a sentence for each worker that does not report. A connection may reach any worker,
    so a problem of one is a problem of all. A worker that shuts down is ignored: it is replaced.
    """
    workers = [one for one in workers if SHUTTING_DOWN not in one.problems]
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
    """Return the sum of the contents, with the shares of the fullest, which answers 503 first."""
    return Spooled(
        bodies=sum(one.bodies for one in fills),
        bytes=sum(one.bytes for one in fills),
        max_bytes=sum(one.max_bytes for one in fills),
        size_share=max(one.size_share for one in fills),
        oldest_age_seconds=max(one.oldest_age_seconds for one in fills),
        max_age_seconds=min(one.max_age_seconds for one in fills),
        age_share=max(one.age_share for one in fills),
    )
