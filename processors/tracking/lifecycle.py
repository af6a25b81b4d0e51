"""The lifecycle of one message: the state of its facts, and the verdict on a new fact. Pure.

Rules. A fact is (gateway, viewer, status) of a message; of two reports of a fact the earlier wins.
Facts are only added, so a state is a function of the set of its observations: their order,
repetition and batching have no effect. The rest of a state is derived from its facts, is the newest
value of a descriptive field, or the richest content (schemas/content_rank.py). The status of an
attempt is the highest rung it reached if that is `delivered` or above, else its failure, else its
highest rung. The status of the message is that of its best attempt. Viewers have states of their
own and never change the message's status.

A state is bounded (schemas/bounds.py): of too many names it keeps the first ones.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec.structs import replace

from schemas.bounds import BOUNDS, Bounds, first
from schemas.codec import encode
from schemas.content_rank import ContentRank, rank_of
from schemas.records import (
    STATE_VERSION,
    Attempt,
    Billing,
    Cause,
    Contradiction,
    Direction,
    Fact,
    InboundObservation,
    Ladder,
    MessageState,
    RawOrigin,
    Reply,
    Status,
    StatusObservation,
    Verdict,
    Viewed,
    ViewerState,
    cause_of,
)

ASIDE: tuple[Status, ...] = ("unknown", "deleted")
UNDERWAY: tuple[Status, ...] = ("queued", "sending", "sent")
FAILURES: tuple[Status, ...] = ("expired", "undelivered", "failed", "rejected")
REACHED: tuple[Status, ...] = ("delivered", "read", "played")

# Within one attempt a failure ranks above the statuses under way, and below delivery.
ATTEMPT_RANK = {s: rank for rank, s in enumerate((*ASIDE, *UNDERWAY, *FAILURES, *REACHED))}
# Among attempts, one under way ranks above a failed one.
MESSAGE_RANK = {s: rank for rank, s in enumerate((*ASIDE, *FAILURES, *UNDERWAY, *REACHED))}

# The direction follows from all observations: a known direction ranks above an unknown one.
_DIRECTIONS: dict[Direction, int] = {"unknown": 0, "outbound": 1, "inbound": 2}

Report = TypeVar("Report", Fact, Reply)


Answered = Literal["inbound", "corrected", "duplicate", "too_many_replies"]
"""The outcome of an inbound message; `corrected`: a better content of it became known."""

PastBound = Literal["too_many_attempts", "too_many_words", "too_many_replies"]
"""Why a state does not keep an observation's fact; it is the code of a dead letter."""


class Judged(NamedTuple):
    """The states after an observation, and the verdict on it.

    `viewer` is the viewer's state, None if the observation is not of a viewer. `previous` is the
    status of the attempt (or viewer's ladder) before; None if this was its first fact.
    """

    state: MessageState
    viewer: ViewerState | None
    verdict: Verdict | PastBound
    previous: Status | None


Precedence = tuple[bool, int, int, bool, RawOrigin]
"""The order of reports of one fact: time unknown, occurred, received, catch-up, raw."""


class FactId(NamedTuple):
    """The identity of a fact within its message; an inbound message's is its own key."""

    gateway: str
    viewer: str
    name: str


def fact_id(observation: StatusObservation | InboundObservation) -> FactId:
    if isinstance(observation, InboundObservation):
        return FactId("", "", observation.message_key)
    name = fact_key(observation.status, observation.provider_status)
    return FactId(observation.gateway, observation.viewer or "", name)


def known(state: MessageState | ViewerState, fact: FactId) -> Fact | Reply | None:
    """Return the report of a fact in a state: the viewer's own state if the fact is of a viewer."""
    gateway, _, name = fact
    if isinstance(state, MessageState) and not gateway:
        return state.inbound.get(name)
    ladder = state.attempts.get(gateway)
    return ladder.facts.get(name) if ladder else None


def observe(
    state: MessageState,
    observation: StatusObservation,
    viewer: ViewerState | None = None,
    bounds: Bounds = BOUNDS,
) -> Judged:
    """Add one observed status to a message's state; the given states do not change.

    `viewer` is the state of the observation's viewer, None if there is none yet.
    """
    if observation.viewer:
        first_seen = ViewerState(
            message_key=state.message_key, viewer=observation.viewer, version=STATE_VERSION
        )
        return _observe_viewer(state, observation, viewer or first_seen, bounds)
    return _observe_own(state, observation, bounds)


def _observe_own(state: MessageState, observation: StatusObservation, bounds: Bounds) -> Judged:
    added = _add(state.attempts, observation, bounds)
    after = _describe(state, observation, bounds)
    if added.attempts is not state.attempts:
        after = _keep(after, added, observation.received_at)
    if observation.gateway not in added.attempts:
        beyond = _higher(after.beyond, [observation.status])
        after = after if beyond == after.beyond else _summarise(replace(after, beyond=beyond))
        return Judged(after, None, "too_many_attempts", None)
    after = _bill(_channelled(after, observation), observation)
    if after.attempts is not state.attempts:
        after = _summarise(after)
    ladder = state.attempts.get(observation.gateway)
    previous = ladder.status if ladder else None
    reached = after.status
    if added.gave_way and reached and state.status and _below(reached, state.status):
        reached = state.status  # the removal of an attempt does not lower the status
    verdict = added.verdict or _verdict(state.status, reached, observation, previous)
    return Judged(after, None, verdict, previous)


def _below(status: Status, other: Status) -> bool:
    return MESSAGE_RANK[status] < MESSAGE_RANK[other]


def _observe_viewer(
    state: MessageState, observation: StatusObservation, known: ViewerState, bounds: Bounds
) -> Judged:
    added = _add(known.attempts, observation, bounds)
    viewer = known
    if added.attempts is not known.attempts:
        beyond = _higher(known.beyond, _gave_way(known.attempts, added.attempts))
        viewer = replace(known, attempts=added.attempts, beyond=beyond)
    elif observation.gateway not in added.attempts:
        viewer = replace(known, beyond=_higher(known.beyond, [observation.status]))
    after = _view(_describe(state, observation, bounds), observation)
    counted = _audience(after.audience, *(_viewer_rank(one) for one in (known, viewer)))
    after = after if counted == after.audience else replace(after, audience=counted)
    before = known.attempts.get(observation.gateway)
    previous = before.status if before else None
    if added.verdict is not None:
        return Judged(after, viewer, added.verdict, previous)
    reached = viewer.attempts[observation.gateway].status
    return Judged(after, viewer, _verdict(previous, reached, observation, previous), previous)


def outlived(viewer: ViewerState, state: MessageState | None) -> bool:
    """Whether the viewer's message has expired; `state` may be a later one of the same key."""
    attempts = viewer.attempts.values()
    newest = max(fact.received_at for one in attempts for fact in one.facts.values())
    return state is None or newest < state.first_seen_at


def answer(
    state: MessageState, reply: InboundObservation, bounds: Bounds = BOUNDS
) -> tuple[MessageState, Answered]:
    """Add one inbound message or reply; return the state and the outcome."""
    report = Reply(
        received_at=reply.received_at,
        occurred_at=reply.occurred_at,
        raw=reply.raw,
        replay=reply.replay,
        catch_up=reply.catch_up,
    )
    key = reply.message_key
    before = state.inbound.get(key)
    kept = report if before is None else earlier(before, report)
    outcome: Answered = "inbound" if before is None else "duplicate"
    if key == state.message_key:
        content = state.content_rank
        state = _describe(state, reply, bounds)
        if before is not None and corrects(content, state.content_rank):
            state, outcome = replace(state, revision=state.revision + 1), "corrected"
    if kept is before:
        return state, outcome
    inbound = {**state.inbound, key: kept}
    if len(inbound) > bounds.replies:
        names = first(inbound, bounds.replies)
        inbound = {name: one for name, one in inbound.items() if name in names}
        if key not in inbound:
            return state, "too_many_replies"
    after = replace(state, inbound=inbound, replied_at=_replied_at(state, inbound))
    return _span(after), outcome


def corrects(before: ContentRank | None, after: ContentRank | None) -> bool:
    """Whether a content is better than the one before; the same one with a later time is not."""
    if before is None or after is None:
        return after is not None
    return after > before and after.digest != before.digest


def _replied_at(state: MessageState, inbound: Mapping[str, Reply]) -> int | None:
    """Return the time of the first reply; people also quote messages that are not outbound."""
    if state.direction == "inbound":
        return None
    replies = (when(one) for key, one in inbound.items() if key != state.message_key)
    return min(replies, default=None)


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
    """Return the name of a fact within its ladder; two unknown words are two facts."""
    return f"unknown:{provider_status}" if status == "unknown" else status


def when(report: Fact | Reply | Cause | StatusObservation | InboundObservation) -> int:
    """Return when it happened, or when it was received if that is unknown, in Unix milliseconds.

    States of earlier versions may hold a time of 0, which is no time.
    """
    return report.occurred_at or report.received_at


def began(state: MessageState) -> int | None:
    """Return the time of the first fact of the message itself, in Unix milliseconds."""
    facts = (when(f) for attempt in state.attempts.values() for f in attempt.facts.values())
    return min(facts, default=None)


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


def _verdict(
    before: Status | None, after: Status | None, new: StatusObservation, previous: Status | None
) -> Verdict:
    """Return the verdict on a new fact, by its ladder's status before and by the move it made."""
    if new.status in ASIDE:
        return "aside"
    if new.status in FAILURES and previous in REACHED:
        return "contradiction"
    if before == after:
        return "late"
    return "recovered" if new.status in REACHED and previous in FAILURES else "advanced"


class _Added(NamedTuple):
    """Ladders after one more fact; `verdict` is None if the fact is new and kept.

    `attempts` is the given mapping itself if nothing changed; `gave_way` says whether it had to
    lose an entry for the new fact.
    """

    attempts: dict[str, Any]
    gateway: str
    gave_way: bool
    verdict: Literal["duplicate", "refined"] | PastBound | None


def _add(attempts: dict[str, Any], observation: StatusObservation, bounds: Bounds) -> _Added:
    """Add an observation's fact to its ladder, as far as the bounds allow."""
    gateway, ladder = observation.gateway, attempts.get(observation.gateway)
    fact = fact_of(observation)
    key = fact_key(observation.status, observation.provider_status)
    before = ladder.facts.get(key) if ladder else None
    kept = fact if before is None else earlier(before, fact)
    if kept is before:
        return _same(attempts, gateway, "duplicate")
    known = len(attempts)
    if ladder is None and known >= bounds.attempts:
        names = first([*attempts, gateway], bounds.attempts)
        if gateway not in names:
            return _same(attempts, gateway, "too_many_attempts")
        attempts = {name: one for name, one in attempts.items() if name in names}
    facts = _first_words({**(ladder.facts if ladder else {}), key: kept}, bounds)
    if key not in facts:
        return _same(attempts, gateway, "too_many_words")
    status = max((f.status for f in facts.values()), key=ATTEMPT_RANK.__getitem__)
    words = len(facts) < (len(ladder.facts) if ladder else 0) + (before is None)
    gave_way = words or len(attempts) < known
    added = {**attempts, gateway: _ladder(ladder, observation, status, facts)}
    return _Added(added, gateway, gave_way, None if before is None else "refined")


def _same(
    attempts: dict[str, Any], gateway: str, verdict: Literal["duplicate"] | PastBound
) -> _Added:
    return _Added(attempts, gateway, gave_way=False, verdict=verdict)


def _ladder(
    ladder: Ladder | None, observation: StatusObservation, status: Status, facts: dict[str, Fact]
) -> Ladder:
    if ladder is not None:
        return replace(ladder, status=status, facts=facts)
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


def _keep(state: MessageState, added: "_Added", received_at: int) -> MessageState:
    """Add the attempts that changed by a fact received at `received_at`."""
    attempts: dict[str, Attempt] = added.attempts
    if added.gave_way:
        state = _without(state, state.attempts.keys() - attempts.keys())
    if added.gave_way or added.verdict == "refined":
        return _span(replace(state, attempts=attempts))
    return replace(
        state,
        attempts=attempts,
        first_seen_at=min(state.first_seen_at, received_at),
        updated_at=max(state.updated_at, received_at),
    )


def _without(state: MessageState, gone: Collection[str]) -> MessageState:
    """Remove the billing of some attempts, and keep their highest status."""
    bills = {f"billing/{gateway}" for gateway in gone}
    return replace(
        state,
        beyond=_higher(state.beyond, (state.attempts[gateway].status for gateway in gone)),
        described_at={name: at for name, at in state.described_at.items() if name not in bills},
    )


def _gave_way(before: Mapping[str, Ladder], after: Mapping[str, Ladder]) -> list[Status]:
    """Return the last status of the ladders that are no longer kept."""
    return [ladder.status for gateway, ladder in before.items() if gateway not in after]


def _higher(known: Status | None, statuses: Iterable[Status]) -> Status | None:
    """Return the highest of delivered, read and played among these; None if there is none."""
    reached = [status for status in (known, *statuses) if status in REACHED]
    return max(reached, key=ATTEMPT_RANK.__getitem__, default=None)


def _view(state: MessageState, observation: StatusObservation) -> MessageState:
    """Count one more receipt by a viewer, new or repeated."""
    at = observation.received_at
    newest = Viewed(
        first_at=at, last=cause_of(observation.gateway, observation), raw=observation.raw
    )
    known = state.viewed
    if known is not None:
        last = max(known, newest, key=_viewed_last)
        newest = replace(last, first_at=min(known.first_at, at))
    return state if newest == known else _span(replace(state, viewed=newest))


def _viewed_last(viewed: Viewed) -> tuple[int, RawOrigin, bool, bytes]:
    last = viewed.last
    return last.received_at, viewed.raw, last.replay is None, encode(last)


def _channelled(state: MessageState, observation: StatusObservation) -> MessageState:
    """Return the same channel in any sequence, if reports name two channels of a gateway."""
    gateway = observation.gateway
    if observation.channel <= state.attempts[gateway].channel:
        return state
    attempt = replace(state.attempts[gateway], channel=observation.channel)
    return replace(state, attempts={**state.attempts, gateway: attempt})


def _describe(
    state: MessageState, observation: StatusObservation | InboundObservation, bounds: Bounds
) -> MessageState:
    """Take the descriptive fields that are newer in the observation, and its content if richer."""
    at = when(observation)
    direction = direction_of(observation)
    if _DIRECTIONS[direction] > _DIRECTIONS[state.direction]:
        state = _directed(state, direction)
    changed: dict[str, Any] = {}
    described: dict[str, int] = {}
    for name, value in _descriptions(state, observation):
        if _newer(state.described_at.get(name), getattr(state, name), at, value):
            changed[name] = value
            described[name] = at
    changed |= _content(state, observation, bounds)
    if described:
        changed["described_at"] = {**state.described_at, **described}
    if state.receipts and isinstance(observation, StatusObservation) and not observation.receipts:
        changed["receipts"] = False
    return replace(state, **changed) if changed else state


def direction_of(observation: StatusObservation | InboundObservation) -> Direction:
    """Return the direction that an observation gives."""
    return "inbound" if isinstance(observation, InboundObservation) else observation.direction


def _directed(state: MessageState, direction: Direction) -> MessageState:
    """Set the direction; an inbound message drops a recipient and a content of receipts."""
    if direction != "inbound":
        return replace(state, direction=direction)
    described = {name: at for name, at in state.described_at.items() if name != "recipient"}
    return replace(
        state,
        direction=direction,
        recipient=None,
        content=None,
        content_rank=None,
        replied_at=None,
        described_at=described,
    )


def _content(
    state: MessageState, observation: StatusObservation | InboundObservation, bounds: Bounds
) -> dict[str, Any]:
    """Return the content and its rank, if they change. Of a large content only the rank is kept.

    The content of an inbound message is from inbound observations only, as on `inbound`.
    """
    if isinstance(observation, StatusObservation) and state.direction == "inbound":
        return {}
    rank = content_rank(observation)
    if rank is None or (state.content_rank is not None and rank <= state.content_rank):
        return {}
    fits = len(encode(observation.content)) <= bounds.kept_content
    return {"content": observation.content if fits else None, "content_rank": rank}


def content_rank(observation: StatusObservation | InboundObservation) -> ContentRank | None:
    """Return the rank of an observation's content; None if it has none."""
    if observation.content is None:
        return None
    edited_at = observation.edited_at if isinstance(observation, InboundObservation) else None
    at = when(observation) if edited_at is None else edited_at
    return rank_of(observation.content, at, edited_at)


def _bill(state: MessageState, observation: StatusObservation) -> MessageState:
    """Take the attempt's billing from the observation, if it is newer."""
    billing, at = observation.billing, when(observation)
    if billing is None:
        return state
    name, attempt = f"billing/{observation.gateway}", state.attempts[observation.gateway]
    if not _newer(state.described_at.get(name), attempt.billing, at, billing):
        return state
    attempts = {**state.attempts, observation.gateway: replace(attempt, billing=billing)}
    return replace(state, attempts=attempts, described_at={**state.described_at, name: at})


def _descriptions(
    state: MessageState, observation: StatusObservation | InboundObservation
) -> Iterator[tuple[str, Any]]:
    # A receipt names the chat: for an inbound message that is the sender.
    if observation.recipient is not None and (
        state.direction != "inbound" or direction_of(observation) == "inbound"
    ):
        yield "recipient", observation.recipient
    if observation.payload is not None:
        yield "payload", observation.payload
    if observation.request_id is not None:
        yield "request_id", observation.request_id
    if isinstance(observation, StatusObservation) and observation.recipient_index is not None:
        yield "recipient_index", observation.recipient_index


def _newer(known_at: int | None, known: Any, at: int, value: Any) -> bool:
    """Whether (at, value) is after the known value: by time, then by canonical bytes."""
    if known_at is None or at > known_at:
        return True
    # By bytes, not by ==: 1, 1.0 and true are equal in Python, and then the first would win.
    return at == known_at and encode(value) > encode(known)


def _summarise(state: MessageState) -> MessageState:
    """Derive the fields that follow from the attempts."""
    statuses = [attempt.status for attempt in state.attempts.values()]
    if state.beyond is not None:
        statuses.append(state.beyond)
    return replace(
        state,
        status=max(statuses, key=MESSAGE_RANK.__getitem__),
        contradictions=sorted(_contradictions(state.attempts)),
        billing=_total(state.attempts),
    )


def _contradictions(attempts: dict[str, Attempt]) -> Iterator[Contradiction]:
    for gateway, attempt in attempts.items():
        if attempt.status in REACHED:
            for failure in FAILURES:
                if failure in attempt.facts:
                    yield Contradiction(gateway, failure, attempt.status)


def _total(attempts: dict[str, Attempt]) -> Billing | None:
    """Return the total billing; sender and network are those of the best attempt with billing."""
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


def _viewer_rank(viewer: ViewerState) -> int:
    """Return the highest rung that a viewer reached by any gateway; -1 if there is none."""
    ranks = [ATTEMPT_RANK[ladder.status] for ladder in viewer.attempts.values()]
    return max(ranks + ([ATTEMPT_RANK[viewer.beyond]] if viewer.beyond else []), default=-1)


def _audience(counts: dict[str, int], before: int, after: int) -> dict[str, int]:
    """Count the viewers at or above each rung, after one rose from `before` to `after`."""
    passed = [rung for rung in REACHED if before < ATTEMPT_RANK[rung] <= after]
    return {**counts, **{rung: counts.get(rung, 0) + 1 for rung in passed}}


def _span(state: MessageState) -> MessageState:
    """Derive the first and the last time of the kept facts."""
    attempts = state.attempts.values()
    times = [fact.received_at for attempt in attempts for fact in attempt.facts.values()]
    times += [reply.received_at for reply in state.inbound.values()]
    if state.viewed is not None:
        times += (state.viewed.first_at, state.viewed.last.received_at)
    return replace(state, first_seen_at=min(times), updated_at=max(times))
