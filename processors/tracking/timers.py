"""Timers: when a message counts as stalled, when its state expires, and their events. Pure.

A timer is due at a time of the log, Unix milliseconds by Kafka's clock (`received_at`), and is a
function of the state, so it is never stored as a fact. Firing it late changes nothing: its event
depends on the time it was due.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from processors.tracking.lifecycle.facts import began, when
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, FAILURES, UNDERWAY
from processors.tracking.outputs import Output, about, event
from schemas.records import (
    Attempt,
    Cause,
    Fact,
    Forgotten,
    MessageState,
    RawOrigin,
    Reply,
    Resumed,
    Stalled,
    Status,
    StatusObservation,
    cause_of,
)
from schemas.topics import STATE_TTL_DAYS

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_TTL = STATE_TTL_DAYS * 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a message may keep its status before it counts as stalled, in milliseconds.

    `queued` is for queued and sending; the mappings, by channel, have precedence.
    """

    queued: int = 10 * _MINUTE
    sent: int = 24 * _HOUR
    queued_by_channel: Mapping[str, int] = field(default_factory=dict)
    sent_by_channel: Mapping[str, int] = field(default_factory=dict)

    def with_(self, status: Status, channel: str) -> int:
        if status == "sent":
            return self.sent_by_channel.get(channel, self.sent)
        return self.queued_by_channel.get(channel, self.queued)


PATIENCE = Patience()


class Fired(NamedTuple):
    """The state after its timers, None if it expired, and the outputs to publish."""

    state: MessageState | None
    outputs: list[Output]


def due(state: MessageState, patience: Patience) -> int:
    """Return when the state's next timer is due; every state has one, because it expires."""
    expires = _expires(state)
    if state.status not in UNDERWAY:
        return expires
    stalls = _stalls(state, patience)
    return expires if stalls is None else min(stalls, expires)


def outlives(state: MessageState) -> int:
    """Return a time just after the state expires, Unix milliseconds."""
    return _expires(state) + 1


def channel(state: MessageState) -> str | None:
    """Return the channel of the attempt that gives the message its status, if it has attempts."""
    return _best(state)[1].channel if state.attempts else None


def fire(state: MessageState, now: int, patience: Patience) -> Fired:
    """Fire the timers due at `now`; return the given state itself if there is none."""
    outputs = []
    stalls = _stalls(state, patience)
    if stalls is not None and stalls <= now:
        outputs.append(_stalled(state, stalls, patience))
        state = replace(state, stalled_since=stalls)
    if _expires(state) > now:
        return Fired(state, outputs)
    return Fired(None, [*outputs, _forgotten(state)])


def resume(
    before: MessageState, after: MessageState, cause: Cause, new: StatusObservation
) -> tuple[MessageState, list[Output]]:
    """Withdraw the alarm if the message has progressed by a new observation."""
    if before.stalled_since is None or _standing(before) == _standing(after):
        return after, []
    assert after.status is not None  # noqa: S101 - only a message with a status stalls
    resumed = Resumed(
        **about(after, new.gateway, new.channel),
        cause=cause,
        raw=new.raw,
        status=after.status,
        stalled_since=before.stalled_since,
    )
    identity = f"{before.stalled_since}", _count(before)
    withdrawn = replace(after, stalled_since=None)
    return withdrawn, [event(resumed, when(cause), *identity)]


def _stalls(state: MessageState, patience: Patience) -> int | None:
    """Return when a message under way counts as stalled; None if it does already, or never will.

    A group or story has receipts by viewer only, which never change its status; some chats have
    none. After a deletion none is due. Observations of a replay, or of a provider that is catching
    up, are old: they raise no alarm.
    """
    if state.status not in UNDERWAY or state.stalled_since is not None:
        return None
    if state.viewed is not None or state.direction == "inbound" or not state.receipts:
        return None
    attempt = _best(state)[1]
    if "deleted" in attempt.facts:
        return None
    standing = attempt.facts[state.status]
    if standing.replay is not None or standing.catch_up:
        return None
    last = standing.received_at
    for one in state.attempts.values():
        for fact in one.facts.values():
            if fact.received_at > last and fact.status != "deleted":
                last = fact.received_at
    return last + patience.with_(state.status, attempt.channel)


def _expires(state: MessageState) -> int:
    return state.updated_at + _TTL


def _best(state: MessageState) -> tuple[str, Attempt]:
    """Return the attempt that gives the message its status; of several, the most recent one."""
    if len(state.attempts) == 1:
        [only] = state.attempts.items()
        return only
    attempts = list(state.attempts.items())
    # There is none if the status is that of a gateway past the bounds.
    standing = [one for one in attempts if one[1].status == state.status] or attempts
    return max(standing, key=lambda one: (_reached_at(one[1]), one[0]))


def _reached_at(attempt: Attempt) -> int:
    """Return when the present status of the attempt was received."""
    facts = attempt.facts.values()
    return max(fact.received_at for fact in facts if fact.status == attempt.status)


def _standing(state: MessageState) -> tuple[str, Status | None, bool]:
    """Return what changes when a message progresses: gateway, status, whether it was viewed."""
    return _best(state)[0], state.status, state.viewed is not None


def _own(state: MessageState) -> list[tuple[str, Fact]]:
    """Return the facts of the message itself, not of viewers, each with its gateway."""
    attempts = state.attempts.items()
    return [(gateway, fact) for gateway, attempt in attempts for fact in attempt.facts.values()]


def _waited_for(state: MessageState) -> list[tuple[str, Fact]]:
    """Return its own facts except deletions: a deletion by one gateway is no news of another."""
    return [one for one in _own(state) if one[1].status != "deleted"]


def _reception_order(report: tuple[str, Fact | Reply]) -> tuple[int, RawOrigin, str]:
    return report[1].received_at, report[1].raw, report[0]


def _last_fact(state: MessageState) -> tuple[str, Fact]:
    """Return the last received fact of the message itself, except deletions."""
    return max(_waited_for(state), key=_reception_order)


def _count(state: MessageState) -> str:
    """Return the number of known facts: it distinguishes a second stall from the first."""
    return str(len(_own(state)))


def _stalled(state: MessageState, at: int, patience: Patience) -> Output:
    assert state.status is not None  # noqa: S101 - it is under way
    gateway, last = _last_fact(state)
    best, attempt = _best(state)
    stalled = Stalled(
        **about(state, best),
        cause=cause_of(gateway, last),
        raw=last.raw,
        status=state.status,
        waiting_ms=patience.with_(state.status, attempt.channel),
    )
    return event(stalled, at, f"{at}", _count(state))


def _forgotten(state: MessageState) -> Output:
    cause, raw = _last_report(state)
    billing = state.billing
    gateway = _best(state)[0] if state.attempts else cause.gateway
    forgotten = Forgotten(
        **about(state, gateway),
        cause=cause,
        raw=raw,
        status=state.status,
        attempts=len(state.attempts),
        to_sent_ms=_took(state, "sent"),
        to_delivered_ms=_took(state, "delivered"),
        to_read_ms=_took(state, "read"),
        parts=billing.parts if billing else None,
        prices=billing.prices if billing else {},
    )
    return event(forgotten, _expires(state), f"{state.updated_at}")


def _last_report(state: MessageState) -> tuple[Cause, RawOrigin]:
    """Return the cause and origin of the last report of a message, viewers and replies included."""
    reports = [(_reception_order(one), cause_of(*one), one[1].raw) for one in _own(state)]
    reports += [(_reception_order(one), _answer(*one), one[1].raw) for one in state.inbound.items()]
    if state.viewed is not None:
        last, raw = state.viewed.last, state.viewed.raw
        reports.append(((last.received_at, raw, last.gateway or ""), last, raw))
    _, cause, raw = max(reports, key=lambda one: one[0])
    return cause, raw


def _took(state: MessageState, status: Status) -> int | None:
    """Return the milliseconds from the message's first fact to its first of `status` or above."""
    start = began(state)
    least = ATTEMPT_RANK[status]
    times = [
        when(fact)
        for _, fact in _own(state)
        if ATTEMPT_RANK[fact.status] >= least and fact.status not in FAILURES
    ]
    return None if start is None or not times else min(times) - start


def _answer(key: str, reply: Reply) -> Cause:
    return Cause(
        received_at=reply.received_at,
        occurred_at=reply.occurred_at,
        reply=key,
        replay=reply.replay,
        catch_up=reply.catch_up,
    )
