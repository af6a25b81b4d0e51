"""Timers: when a message counts as stalled, when its state expires, and what that says. Pure.

A timer is due at a time of the log, Unix milliseconds by Kafka's clock (`received_at`), and is a
function of the state, so it is never stored as a fact. Firing it late changes nothing: what it
says depends on when it was due.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from processors.tracking import lifecycle
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
    cause_of,
)
from schemas.topics import STATE_TTL_DAYS

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_TTL = STATE_TTL_DAYS * 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a message may stay where it is before it counts as stalled, in milliseconds.

    `queued` is for queued and sending; the mappings, by channel, go before.
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
    """The state after its timers, None if it expired, and what is to be published."""

    state: MessageState | None
    outputs: list[Output]


def due(state: MessageState, patience: Patience) -> int:
    """When the state's next timer is due; there always is one, as every state expires."""
    stalls = _stalls(state, patience)
    expires = _expires(state)
    return expires if stalls is None else min(stalls, expires)


def outlives(state: MessageState) -> int:
    """A time just after the state expires, Unix milliseconds."""
    return _expires(state) + 1


def fire(state: MessageState, now: int, patience: Patience) -> Fired:
    """Fire what is due at `now`; the very state comes back if nothing is."""
    outputs = []
    stalls = _stalls(state, patience)
    if stalls is not None and stalls <= now:
        outputs.append(_stalled(state, stalls, patience))
        state = replace(state, stalled_since=stalls)
    if _expires(state) > now:
        return Fired(state, outputs)
    return Fired(None, [*outputs, _forgotten(state)])


def resume(
    before: MessageState, after: MessageState, cause: Cause, raw: RawOrigin
) -> tuple[MessageState, list[Output]]:
    """Withdraw the alarm if the message has moved on."""
    if before.stalled_since is None or _standing(before) == _standing(after):
        return after, []
    assert after.status is not None  # noqa: S101 - only what has a status stalls
    resumed = Resumed(
        **about(after, cause.gateway),
        cause=cause,
        raw=raw,
        status=after.status,
        stalled_since=before.stalled_since,
    )
    identity = f"{before.stalled_since}", _count(before)
    withdrawn = replace(after, stalled_since=None)
    return withdrawn, [event(resumed, lifecycle.when(cause), *identity)]


def _stalls(state: MessageState, patience: Patience) -> int | None:
    """When a message under way counts as stalled; None if it does already, or never will.

    A group or story has receipts by viewer only, which never move it; some chats have none. After
    a deletion none need come. What a replay, or a provider catching up, brings is old: it raises
    no alarm.
    """
    if state.status not in lifecycle.UNDERWAY or state.stalled_since is not None:
        return None
    if state.viewed is not None or state.direction == "inbound" or not state.receipts:
        return None
    _, attempt = _best(state)
    if "deleted" in attempt.facts:
        return None
    standing = attempt.facts[state.status]
    if standing.replay is not None or standing.catch_up:
        return None
    heard = max([fact.received_at for _, fact in _waited_for(state)])
    return heard + patience.with_(state.status, attempt.channel)


def _expires(state: MessageState) -> int:
    return state.updated_at + _TTL


def _best(state: MessageState) -> tuple[str, Attempt]:
    """Return the attempt that gives the message its status; of several, the most recent one."""
    attempts = list(state.attempts.items())
    # There is none if the status is that of a gateway past the bounds.
    standing = [one for one in attempts if one[1].status == state.status] or attempts
    if len(standing) == 1:
        return standing[0]
    return max(standing, key=lambda one: (_reached_at(one[1]), one[0]))


def _reached_at(attempt: Attempt) -> int:
    """Return when the present status of the attempt was received."""
    facts = attempt.facts.values()
    return max(fact.received_at for fact in facts if fact.status == attempt.status)


def _standing(state: MessageState) -> tuple[str, Status | None, bool]:
    """Return what changes when a message progresses: gateway, status, whether it was viewed."""
    return _best(state)[0], state.status, state.viewed is not None


def _own(state: MessageState) -> Iterator[tuple[str, Fact]]:
    """The message's own facts, viewers' apart, each with its gateway."""
    for gateway, attempt in state.attempts.items():
        for fact in attempt.facts.values():
            yield gateway, fact


def _waited_for(state: MessageState) -> Iterator[tuple[str, Fact]]:
    """Its own facts but deletions: what a gateway forgot is no news of what another one sends."""
    return (one for one in _own(state) if one[1].status != "deleted")


def _newness(report: tuple[str, Fact | Reply]) -> tuple[int, RawOrigin, str]:
    return report[1].received_at, report[1].raw, report[0]


def _heard(state: MessageState) -> tuple[str, Fact]:
    """What was heard last of the message itself, deletions apart."""
    return max(_waited_for(state), key=_newness)


def _count(state: MessageState) -> str:
    """Return the number of known facts: it distinguishes a second stall from the first."""
    return str(sum(1 for _ in _own(state)))


def _stalled(state: MessageState, at: int, patience: Patience) -> Output:
    assert state.status is not None  # noqa: S101 - it is under way
    gateway, heard = _heard(state)
    best, attempt = _best(state)
    stalled = Stalled(
        **about(state, best),
        cause=cause_of(gateway, heard),
        raw=heard.raw,
        status=state.status,
        waiting_ms=patience.with_(state.status, attempt.channel),
    )
    return event(stalled, at, f"{at}", _count(state))


def _forgotten(state: MessageState) -> Output:
    cause, raw = _heard_at_all(state)
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


def _heard_at_all(state: MessageState) -> tuple[Cause, RawOrigin]:
    """What was heard last of a message, by viewers and in answers too, and where it lies."""
    heard = [(_newness(one), cause_of(*one), one[1].raw) for one in _own(state)]
    heard += [(_newness(one), _answer(*one), one[1].raw) for one in state.inbound.items()]
    if state.viewed is not None:
        last, raw = state.viewed.last, state.viewed.raw
        heard.append(((last.received_at, raw, last.gateway or ""), last, raw))
    _, cause, raw = max(heard, key=lambda one: one[0])
    return cause, raw


def _took(state: MessageState, status: Status) -> int | None:
    """Milliseconds from the message's first fact to the first that said as much as `status`."""
    began = lifecycle.began(state)
    least = lifecycle.ATTEMPT_RANK[status]
    times = [
        lifecycle.when(fact)
        for _, fact in _own(state)
        if lifecycle.ATTEMPT_RANK[fact.status] >= least and fact.status not in lifecycle.FAILURES
    ]
    return min(times) - began if times and began else None


def _answer(key: str, reply: Reply) -> Cause:
    return Cause(
        received_at=reply.received_at,
        occurred_at=reply.occurred_at,
        reply=key,
        replay=reply.replay,
        catch_up=reply.catch_up,
    )
