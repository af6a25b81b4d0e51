"""Ladders, the facts of an attempt or of a viewer by gateway: adding one more fact. Pure."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from processors.tracking.lifecycle.facts import earlier, fact_key, fact_of
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, REACHED
from processors.tracking.lifecycle.verdicts import PastBound
from schemas.bounds import Bounds, first, first_entries
from schemas.records import Attempt, Fact, Ladder, Status, StatusObservation, copy


class Added(NamedTuple):
    """Ladders after one more fact; `verdict` is None if the fact is new and kept.

    `attempts` is the given mapping itself if nothing changed; `gave_way` says whether it had to
    lose an entry for the new fact.
    """

    attempts: dict[str, Any]
    gave_way: bool
    verdict: Literal["duplicate", "refined"] | PastBound | None


def add_fact(attempts: dict[str, Any], observation: StatusObservation, bounds: Bounds) -> Added:
    """Add an observation's fact to its ladder, as far as the bounds allow."""
    gateway, fact = observation.gateway, fact_of(observation)
    key = fact_key(fact.status, fact.provider_status)
    ladder = attempts.get(gateway)
    facts: dict[str, Fact] = ladder.facts if ladder else {}
    before = facts.get(key)
    kept = fact if before is None else earlier(before, fact)
    if kept is before:
        return _same(attempts, "duplicate")
    words = _first_words({**facts, key: kept}, bounds)
    if key not in words:
        return _same(attempts, "too_many_words")
    after = {**attempts, gateway: _ladder(ladder, observation, words)}
    gave_way = len(words) < len(facts) + (before is None)
    if ladder is None and len(after) > bounds.attempts:
        after, gave_way = first_entries(after, bounds.attempts), True
        if gateway not in after:
            return _same(attempts, "too_many_attempts")
    return Added(after, gave_way, None if before is None else "refined")


def _same(attempts: dict[str, Any], verdict: Literal["duplicate"] | PastBound) -> Added:
    return Added(attempts, gave_way=False, verdict=verdict)


def _ladder(
    ladder: Ladder | None, observation: StatusObservation, facts: dict[str, Fact]
) -> Ladder:
    """Return a ladder with these facts: its status is the highest of them."""
    status = observation.status
    if ladder is not None:
        after = copy(ladder)
        after.facts = facts
        if ATTEMPT_RANK[status] > ATTEMPT_RANK[ladder.status]:
            after.status = status
        return after
    if observation.viewer:
        return Ladder(status=status, facts=facts)
    return Attempt(status=status, facts=facts, channel=observation.channel)


def _first_words(facts: dict[str, Fact], bounds: Bounds) -> dict[str, Fact]:
    """Return all facts of known statuses, and the first few of unknown ones."""
    if len(facts) <= bounds.words:
        return facts
    words = [key for key, fact in facts.items() if fact.status == "unknown"]
    if len(words) <= bounds.words:
        return facts
    kept = first(words, bounds.words)
    return {key: fact for key, fact in facts.items() if fact.status != "unknown" or key in kept}


def highest_reached(known: Status | None, statuses: Iterable[Status]) -> Status | None:
    """Return the highest of delivered, read and played among these; None if there is none."""
    reached = [status for status in (known, *statuses) if status in REACHED]
    return max(reached, key=ATTEMPT_RANK.__getitem__, default=None)
