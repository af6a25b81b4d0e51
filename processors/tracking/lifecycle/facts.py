"""Facts: their identity, their times, and which of two reports of a fact counts. Pure."""

from typing import NamedTuple, TypeVar

from schemas.codec import encode
from schemas.records import (
    Cause,
    Fact,
    InboundObservation,
    MessageState,
    RawOrigin,
    Reply,
    Status,
    StatusObservation,
    ViewerState,
)

Report = TypeVar("Report", Fact, Reply)

Precedence = tuple[bool, int, int, bool, RawOrigin]
"""The order of reports of one fact: time unknown, occurred, received, catch-up, raw."""


class FactId(NamedTuple):
    """The identity of a fact within its message; an inbound message's is its own key."""

    gateway: str
    viewer: str
    name: str


def fact_id(observation: StatusObservation | InboundObservation) -> FactId:
    """Return the identity of what an observation reports."""
    if isinstance(observation, InboundObservation):
        return FactId("", "", observation.message_key)
    name = fact_key(observation.status, observation.provider_status)
    return FactId(observation.gateway, observation.viewer or "", name)


def fact_key(status: Status, provider_status: str) -> str:
    """Return the name of a fact within its ladder; two unknown words are two facts."""
    return f"unknown:{provider_status}" if status == "unknown" else status


def fact_of(observation: StatusObservation) -> Fact:
    """Return the fact that an observation reports."""
    return Fact(
        status=observation.status,
        provider_status=observation.provider_status,
        occurred_at=observation.occurred_at,
        received_at=observation.received_at,
        reason=observation.reason,
        raw=observation.raw,
        replay=observation.replay,
        catch_up=observation.catch_up,
    )


def report_in(state: MessageState | ViewerState, fact: FactId) -> Fact | Reply | None:
    """Return the report of a fact in a state: the viewer's own state if the fact is of a viewer."""
    gateway, _, name = fact
    if isinstance(state, MessageState) and not gateway:
        return state.inbound.get(name)
    ladder = state.attempts.get(gateway)
    return ladder.facts.get(name) if ladder else None


def when(report: Fact | Reply | Cause | StatusObservation | InboundObservation) -> int:
    """Return when it happened, or when it was received if that is unknown, in Unix milliseconds.

    States of earlier versions may hold a time of 0, which is no time.
    """
    return report.occurred_at or report.received_at


def began(state: MessageState) -> int | None:
    """Return the time of the first fact of the message itself, in Unix milliseconds."""
    first: int | None = None
    for attempt in state.attempts.values():
        for fact in attempt.facts.values():
            at = fact.occurred_at or fact.received_at
            if first is None or at < first:
                first = at
    return first


def earlier(one: Report, other: Report) -> Report:
    """Return the report that counts of two reports of one fact: a total order, in any sequence.

    A time from the provider precedes an assumed one. Live traffic precedes a provider's catch-up
    and its own replay.
    """
    ages = _order(one), _order(other)
    if ages[0] == ages[1]:
        return one if encode(one) <= encode(other) else other
    return one if ages[0] < ages[1] else other


def precedence(report: Fact | Reply | StatusObservation | InboundObservation) -> Precedence:
    """Return the precedence of a report: of two reports of a fact, the smaller one counts."""
    unknown = not report.occurred_at
    return unknown, report.occurred_at or 0, report.received_at, report.catch_up, report.raw


def _order(report: Fact | Reply) -> tuple[Precedence, str]:
    return precedence(report), report.replay or ""
