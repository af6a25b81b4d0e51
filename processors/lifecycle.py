"""The lifecycle of one message: what its facts amount to, and the verdict on one more. Pure.

Rules. A fact is (gateway, viewer, status) of a message; of two tellings of a fact the earlier wins.
Facts are only ever added, so a state is a function of the set of its observations: whatever their
order, repetition or batching. All else in a state is derived from its facts, or is the newest
telling of a descriptive field. An attempt stands at the highest rung it reached if that is
`delivered` or above, else at its failure, else at its highest rung; the message stands where its
best attempt does. Viewers have ladders of their own and never move the message.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from schemas.codec import encode
from schemas.records import (
    Attempt,
    Billing,
    Cause,
    Contradiction,
    Fact,
    InboundObservation,
    Ladder,
    MessageState,
    RawOrigin,
    Reply,
    Status,
    StatusObservation,
    Verdict,
)

ASIDE: tuple[Status, ...] = ("unknown", "deleted")
UNDERWAY: tuple[Status, ...] = ("queued", "sending", "sent")
FAILURES: tuple[Status, ...] = ("expired", "undelivered", "failed", "rejected")
REACHED: tuple[Status, ...] = ("delivered", "read", "played")

# Within one attempt a failure outranks what was under way and is outranked by delivery.
ATTEMPT_RANK = {s: rank for rank, s in enumerate((*ASIDE, *UNDERWAY, *FAILURES, *REACHED))}
# Among attempts one still under way is better than one that failed.
MESSAGE_RANK = {s: rank for rank, s in enumerate((*ASIDE, *FAILURES, *UNDERWAY, *REACHED))}

Told = TypeVar("Told", Fact, Reply)


class Judged(NamedTuple):
    """A state after an observation, and what the observation was to it.

    `stood` is where the attempt (or viewer) stood before; None if this was its first fact.
    """

    state: MessageState
    verdict: Verdict
    stood: Status | None


Precedence = tuple[bool, int, int, bool, RawOrigin]
"""How one telling of a fact stands to another: time unknown, occurred, received, catch-up, raw."""


class FactId(NamedTuple):
    """What tells one fact from the others of its message; an inbound message's is its own key."""

    gateway: str
    viewer: str
    name: str


def fact_id(observation: StatusObservation | InboundObservation) -> FactId:
    if isinstance(observation, InboundObservation):
        return FactId("", "", observation.message_key)
    name = fact_key(observation.status, observation.provider_status)
    return FactId(observation.gateway, observation.viewer or "", name)


def known(state: MessageState, fact: FactId) -> Fact | Reply | None:
    """What the state knows of a fact."""
    gateway, viewer, name = fact
    if not gateway:
        return state.inbound.get(name)
    ladder = _ladder(state, gateway, viewer)
    return ladder.facts.get(name) if ladder else None


def observe(state: MessageState, observation: StatusObservation) -> Judged:
    """Add one observed status to a message's state; the state given is left as it was."""
    fact = fact_of(observation)
    key = fact_key(observation.status, observation.provider_status)
    ladder = _ladder(state, observation.gateway, observation.viewer)
    before = ladder.facts.get(key) if ladder else None
    kept = fact if before is None else earlier(before, fact)
    after = state if kept is before else _put(state, observation, key, kept, ladder)
    after = _summarise(_describe(_channelled(after, observation), observation), state, observation)
    stood = ladder.status if ladder else None
    if before is None:
        after = _span(after, kept)
        return Judged(after, _verdict(state, after, observation, stood), stood)
    if kept is before:
        return Judged(after, "duplicate", stood)
    return Judged(_respan(after), "refined", stood)


def answer(state: MessageState, reply: InboundObservation) -> tuple[MessageState, bool]:
    """Add one inbound message or reply; tells whether it was new."""
    told = Reply(
        received_at=reply.received_at,
        occurred_at=reply.occurred_at,
        raw=reply.raw,
        replay=reply.replay,
        catch_up=reply.catch_up,
    )
    key = reply.message_key
    before = state.inbound.get(key)
    kept = told if before is None else earlier(before, told)
    if key == state.message_key:
        state = _describe(state, reply)
    if kept is before:
        return state, False
    state = replace(state, inbound={**state.inbound, key: kept})
    replies = [when(r) for k, r in state.inbound.items() if k != state.message_key]
    state = replace(state, replied_at=min(replies, default=None))
    return (_span(state, kept), True) if before is None else (_respan(state), False)


def fact_of(observation: StatusObservation) -> Fact:
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


def fact_key(status: Status, provider_status: str) -> str:
    """The name of a fact within its ladder; two unknown words are two facts."""
    return f"unknown:{provider_status}" if status == "unknown" else status


def when(told: Fact | Reply | Cause | StatusObservation | InboundObservation) -> int:
    """When it happened, as far as anyone knows, in Unix milliseconds."""
    return told.received_at if told.occurred_at is None else told.occurred_at


def began(state: MessageState) -> int | None:
    """When the message's first own fact happened, in Unix milliseconds."""
    facts = (when(f) for attempt in state.attempts.values() for f in attempt.facts.values())
    return min(facts, default=None)


def earlier(one: Told, other: Told) -> Told:
    """Of two tellings of the same fact the one that counts: a total order, whoever comes first.

    A time told by the provider beats one we had to assume; live traffic beats what the provider
    told to catch up, and a replay of itself.
    """
    ages = _age(one), _age(other)
    if ages[0] == ages[1]:
        return one if encode(one) <= encode(other) else other
    return one if ages[0] < ages[1] else other


def precedence(told: Fact | Reply | StatusObservation | InboundObservation) -> Precedence:
    """Of two tellings of a fact the one with the smaller counts, whoever brought it."""
    unknown = told.occurred_at is None
    return unknown, told.occurred_at or 0, told.received_at, told.catch_up, told.raw


def _age(told: Fact | Reply) -> tuple[Precedence, str]:
    return precedence(told), told.replay or ""


def _verdict(
    before: MessageState, after: MessageState, new: StatusObservation, stood: Status | None
) -> Verdict:
    """Judge a new fact by where its attempt (or viewer) stood and by what it moved."""
    if new.status in ASIDE:
        return "aside"
    if new.status in FAILURES and stood in REACHED:
        return "contradiction"
    if new.viewer is None:
        moved = before.status != after.status
    else:
        moved = stood != after.viewers[new.viewer][new.gateway].status
    if not moved:
        return "late"
    return "recovered" if new.status in REACHED and stood in FAILURES else "advanced"


def _ladder(state: MessageState, gateway: str, viewer: str | None) -> Ladder | None:
    if not viewer:
        return state.attempts.get(gateway)
    return state.viewers.get(viewer, {}).get(gateway)


def _put(
    state: MessageState,
    observation: StatusObservation,
    key: str,
    fact: Fact,
    ladder: Ladder | None,
) -> MessageState:
    gateway, viewer = observation.gateway, observation.viewer
    facts = {**(ladder.facts if ladder else {}), key: fact}
    status = max((f.status for f in facts.values()), key=ATTEMPT_RANK.__getitem__)
    if viewer is not None:
        ladders = {**state.viewers.get(viewer, {}), gateway: Ladder(status=status, facts=facts)}
        return replace(state, viewers={**state.viewers, viewer: ladders})
    if isinstance(ladder, Attempt):
        attempt = replace(ladder, status=status, facts=facts)
    else:
        attempt = Attempt(status=status, facts=facts, channel=observation.channel)
    return replace(state, attempts={**state.attempts, gateway: attempt})


def _channelled(state: MessageState, observation: StatusObservation) -> MessageState:
    """Should a gateway's channel ever be told in two ways, take the same whoever comes first."""
    gateway = observation.gateway
    if observation.viewer is not None or observation.channel <= state.attempts[gateway].channel:
        return state
    attempt = replace(state.attempts[gateway], channel=observation.channel)
    return replace(state, attempts={**state.attempts, gateway: attempt})


def _describe(
    state: MessageState, observation: StatusObservation | InboundObservation
) -> MessageState:
    """Take over the descriptive fields the observation knows newer."""
    at = when(observation)
    changed: dict[str, Any] = {}
    described: dict[str, int] = {}
    for name, value in _descriptions(observation):
        if _newer(state.described_at.get(name), getattr(state, name), at, value):
            changed[name] = value
            described[name] = at
    name = f"billing/{observation.gateway}"
    billing = getattr(observation, "billing", None)
    # What a viewer's receipt says of cost is no attempt's: there may be none by that gateway.
    if billing is not None and getattr(observation, "viewer", None) is None:
        attempt = state.attempts[observation.gateway]
        if _newer(state.described_at.get(name), attempt.billing, at, billing):
            billed = replace(attempt, billing=billing)
            changed["attempts"] = {**state.attempts, observation.gateway: billed}
            described[name] = at
    if not described:
        return state
    return replace(state, **changed, described_at={**state.described_at, **described})


def _descriptions(
    observation: StatusObservation | InboundObservation,
) -> Iterator[tuple[str, Any]]:
    yield from (
        (name, value)
        for name in ("recipient", "payload", "content", "request_id")
        if (value := getattr(observation, name)) is not None
    )
    if isinstance(observation, InboundObservation):
        yield "direction", "inbound"
        return
    if observation.direction != "unknown":
        yield "direction", observation.direction
    if observation.recipient_index is not None:
        yield "recipient_index", observation.recipient_index


def _newer(known_at: int | None, known: Any, at: int, value: Any) -> bool:
    """Whether (at, value) comes after what is known: by time, then by canonical bytes."""
    if known_at is None or at > known_at:
        return True
    # By bytes, not by ==: to Python 1, 1.0 and true are one, and then the first would win.
    return at == known_at and encode(value) > encode(known)


def _summarise(
    state: MessageState, before: MessageState, observation: StatusObservation
) -> MessageState:
    """Derive what follows from the ladders, if they changed."""
    if state.attempts is not before.attempts:
        statuses = [attempt.status for attempt in state.attempts.values()]
        state = replace(
            state,
            status=max(statuses, key=MESSAGE_RANK.__getitem__),
            contradictions=sorted(_contradictions(state.attempts)),
            billing=_total(state.attempts),
        )
    if observation.viewer is not None and state.viewers is not before.viewers:
        ranks = (_viewer_rank(told, observation.viewer) for told in (before, state))
        state = replace(state, audience=_audience(before.audience, *ranks))
    return state


def _contradictions(attempts: dict[str, Attempt]) -> Iterator[Contradiction]:
    for gateway, attempt in attempts.items():
        if attempt.status in REACHED:
            for failure in FAILURES:
                if failure in attempt.facts:
                    yield Contradiction(gateway, failure, attempt.status)


def _total(attempts: dict[str, Attempt]) -> Billing | None:
    """What the attempts cost together; sender and network are those of the best attempt billed."""
    billed = [(gateway, attempt) for gateway, attempt in attempts.items() if attempt.billing]
    billed.sort(key=lambda one: (MESSAGE_RANK[one[1].status], one[0]))
    billings = [attempt.billing for _, attempt in billed if attempt.billing]
    if len(billings) == 1 or not billings:
        return billings[0] if billings else None
    parts = [billing.parts for billing in billings if billing.parts is not None]
    prices: dict[str, Decimal] = {}
    for billing in billings:
        for currency, price in billing.prices.items():
            prices[currency] = prices.get(currency, Decimal(0)) + Decimal(price)
    return replace(
        billings[-1],
        parts=sum(parts) if parts else None,
        prices={currency: f"{price:f}" for currency, price in prices.items()},
    )


def _viewer_rank(state: MessageState, viewer: str) -> int:
    """The highest rung a viewer reached by any gateway; below all if there is none."""
    ladders = state.viewers.get(viewer, {}).values()
    return max((ATTEMPT_RANK[ladder.status] for ladder in ladders), default=-1)


def _audience(counts: dict[str, int], before: int, after: int) -> dict[str, int]:
    """The viewers at or above each rung, after one of them rose from a rank to another."""
    passed = [rung for rung in REACHED if before < ATTEMPT_RANK[rung] <= after]
    return {**counts, **{rung: counts.get(rung, 0) + 1 for rung in passed}}


def _span(state: MessageState, told: Fact | Reply) -> MessageState:
    """Widen the time the state spans by one more fact."""
    return replace(
        state,
        first_seen_at=min(state.first_seen_at, told.received_at),
        updated_at=max(state.updated_at, told.received_at),
    )


def _respan(state: MessageState) -> MessageState:
    """Derive the time the state spans afresh: an earlier telling replaced one of its facts."""
    ladders: list[Ladder] = [*state.attempts.values()]
    ladders += (ladder for by_gateway in state.viewers.values() for ladder in by_gateway.values())
    times = [fact.received_at for ladder in ladders for fact in ladder.facts.values()]
    times += (reply.received_at for reply in state.inbound.values())
    return replace(state, first_seen_at=min(times), updated_at=max(times))
