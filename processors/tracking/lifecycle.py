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

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from schemas.bounds import BOUNDS, Bounds, first, first_entries
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
    copy,
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

_NEVER = -math.inf

Report = TypeVar("Report", Fact, Reply)


Answered = Literal["inbound", "corrected", "duplicate", "too_many_replies"]
"""The outcome of an inbound message; `corrected`: a better content of it became known."""

PastBound = Literal["too_many_attempts", "too_many_words", "too_many_replies"]
"""Why a state does not keep an observation's fact; it is the code of a dead letter."""


class Judged(Struct, frozen=True, gc=False):
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
    draft = copy(state)
    changed = describe(draft, observation, bounds)
    if added.attempts is not state.attempts:
        _keep(draft, added, observation.received_at)
    if observation.gateway not in added.attempts:
        changed |= _pass_bound(draft, observation)
        return Judged(draft if changed else state, None, "too_many_attempts", None)
    if observation.channel > draft.attempts[observation.gateway].channel:
        # Of two channels of a gateway, the same one wins in any sequence.
        _own_attempt(draft, state, observation.gateway).channel = observation.channel
    if observation.billing is not None:
        changed |= _bill(draft, state, observation, observation.billing)
    if draft.attempts is not state.attempts:
        _summarise(draft)
        changed = True
    ladder = state.attempts.get(observation.gateway)
    previous = ladder.status if ladder else None
    reached = draft.status
    if added.gave_way and reached and state.status and _below(reached, state.status):
        reached = state.status  # the removal of an attempt does not lower the status
    verdict = added.verdict or _verdict(state.status, reached, observation, previous)
    return Judged(draft if changed else state, None, verdict, previous)


def _pass_bound(draft: MessageState, observation: StatusObservation) -> bool:
    """Keep the status of a gateway that the state does not hold; whether that changes it."""
    beyond = _higher(draft.beyond, [observation.status])
    if beyond == draft.beyond:
        return False
    draft.beyond = beyond
    _summarise(draft)
    return True


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
    draft = copy(state)
    changed = describe(draft, observation, bounds) | _view(draft, observation)
    changed |= _count(draft, known, viewer)
    after = draft if changed else state
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
    draft, changed = copy(state), False
    if key == state.message_key:
        changed = describe(draft, reply, bounds)
        if before is not None and corrects(state.content_rank, draft.content_rank):
            draft.revision, outcome = draft.revision + 1, "corrected"
    if kept is not before:
        inbound = first_entries({**state.inbound, key: kept}, bounds.replies)
        if key in inbound:
            draft.inbound, draft.replied_at = inbound, _replied_at(draft, inbound)
            _span(draft)
            changed = True
        else:
            outcome = "too_many_replies"
    return draft if changed else state, outcome


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
    gave_way: bool
    verdict: Literal["duplicate", "refined"] | PastBound | None


def _add(attempts: dict[str, Any], observation: StatusObservation, bounds: Bounds) -> _Added:
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
    return _Added(after, gave_way, None if before is None else "refined")


def _same(attempts: dict[str, Any], verdict: Literal["duplicate"] | PastBound) -> _Added:
    return _Added(attempts, gave_way=False, verdict=verdict)


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


def _keep(draft: MessageState, added: "_Added", received_at: int) -> None:
    """Add the attempts that changed by a fact received at `received_at`."""
    if added.gave_way:
        _remove(draft, draft.attempts.keys() - added.attempts.keys())
    draft.attempts = added.attempts
    if added.gave_way or added.verdict == "refined":
        _span(draft)
    else:
        _extend(draft, received_at)


def _extend(draft: MessageState, received_at: int) -> None:
    """Extend the span of the state to a fact that is added."""
    draft.first_seen_at = min(draft.first_seen_at, received_at)
    draft.updated_at = max(draft.updated_at, received_at)


def _remove(draft: MessageState, gone: Collection[str]) -> None:
    """Remove the billing of some attempts, and keep their highest status."""
    bills = {f"billing/{gateway}" for gateway in gone}
    draft.beyond = _higher(draft.beyond, (draft.attempts[gateway].status for gateway in gone))
    draft.described_at = {n: at for n, at in draft.described_at.items() if n not in bills}


def _gave_way(before: Mapping[str, Ladder], after: Mapping[str, Ladder]) -> list[Status]:
    """Return the last status of the ladders that are no longer kept."""
    return [ladder.status for gateway, ladder in before.items() if gateway not in after]


def _higher(known: Status | None, statuses: Iterable[Status]) -> Status | None:
    """Return the highest of delivered, read and played among these; None if there is none."""
    reached = [status for status in (known, *statuses) if status in REACHED]
    return max(reached, key=ATTEMPT_RANK.__getitem__, default=None)


def _view(draft: MessageState, observation: StatusObservation) -> bool:
    """Count one more receipt by a viewer, new or repeated; whether it changes the state."""
    at = observation.received_at
    newest = Viewed(
        first_at=at, last=cause_of(observation.gateway, observation), raw=observation.raw
    )
    known = draft.viewed
    if known is not None:
        newest = _merged(known, newest)
        if newest is known or newest == known:
            return False
    draft.viewed = newest
    _extend(draft, at)
    return True


def _merged(known: Viewed, new: Viewed) -> Viewed:
    """Return the summary of viewers' receipts with one more of them."""
    times = known.last.received_at, new.last.received_at
    if times[0] == times[1]:
        last = max(known, new, key=_viewed_last)
    else:
        last = known if times[0] > times[1] else new
    first_at = min(known.first_at, new.first_at)
    return last if last.first_at == first_at else replace(last, first_at=first_at)


def _viewed_last(viewed: Viewed) -> tuple[RawOrigin, bool, bytes]:
    return viewed.raw, viewed.last.replay is None, encode(viewed.last)


def _count(draft: MessageState, before: ViewerState, after: ViewerState) -> bool:
    """Count the viewers at or above each rung, after one rose; whether that changes the state."""
    if before is after:
        return False
    counted = _audience(draft.audience, _viewer_rank(before), _viewer_rank(after))
    if counted == draft.audience:
        return False
    draft.audience = counted
    return True


def _own_attempt(draft: MessageState, state: MessageState, gateway: str) -> Attempt:
    """Return the draft's attempt by a gateway, after copying it if it is also the state's."""
    attempt = draft.attempts[gateway]
    if attempt is state.attempts.get(gateway):
        attempt = copy(attempt)
        draft.attempts = {**draft.attempts, gateway: attempt}
    return attempt


def describe(
    draft: MessageState, observation: StatusObservation | InboundObservation, bounds: Bounds
) -> bool:
    """Take the descriptive fields that are newer in the observation, and its content if richer.

    Returns whether the state changes.
    """
    at = when(observation)
    direction = direction_of(observation)
    changed = direction != draft.direction and _DIRECTIONS[direction] > _DIRECTIONS[draft.direction]
    if changed:
        _direct(draft, direction)
    known = draft.described_at
    described: dict[str, int] = {}
    for name, value in _descriptions(draft, observation):
        if value is None:
            continue
        if at > known.get(name, _NEVER) or is_newer(
            known.get(name), getattr(draft, name), at, value
        ):
            setattr(draft, name, value)
            described[name] = at
    if described:
        draft.described_at = {**known, **described}
        changed = True
    if observation.content is not None:
        changed |= _take_content(draft, observation, bounds)
    if draft.receipts and isinstance(observation, StatusObservation) and not observation.receipts:
        draft.receipts = False
        changed = True
    return changed


def direction_of(observation: StatusObservation | InboundObservation) -> Direction:
    """Return the direction that an observation gives."""
    return "inbound" if isinstance(observation, InboundObservation) else observation.direction


def _direct(draft: MessageState, direction: Direction) -> None:
    """Set the direction; an inbound message drops a recipient and a content of receipts."""
    draft.direction = direction
    if direction == "inbound":
        described = {name: at for name, at in draft.described_at.items() if name != "recipient"}
        draft.described_at = described
        draft.recipient = draft.content = draft.content_rank = draft.replied_at = None


def _take_content(
    draft: MessageState, observation: StatusObservation | InboundObservation, bounds: Bounds
) -> bool:
    """Take a richer content, of a large one only its rank; whether that changes the state.

    The content of an inbound message is from inbound observations only, as on `inbound`.
    """
    if isinstance(observation, StatusObservation) and draft.direction == "inbound":
        return False
    rank = content_rank(observation)
    if rank is None or (draft.content_rank is not None and rank <= draft.content_rank):
        return False
    fits = len(encode(observation.content)) <= bounds.kept_content
    draft.content, draft.content_rank = observation.content if fits else None, rank
    return True


def content_rank(observation: StatusObservation | InboundObservation) -> ContentRank | None:
    """Return the rank of an observation's content; None if it has none."""
    if observation.content is None:
        return None
    edited_at = observation.edited_at if isinstance(observation, InboundObservation) else None
    at = when(observation) if edited_at is None else edited_at
    return rank_of(observation.content, at, edited_at)


def _bill(
    draft: MessageState, state: MessageState, observation: StatusObservation, billing: Billing
) -> bool:
    """Take the attempt's billing from the observation, if it is newer; whether it is."""
    gateway, at = observation.gateway, when(observation)
    name = f"billing/{gateway}"
    known = draft.attempts[gateway].billing
    if not is_newer(draft.described_at.get(name), known, at, billing):
        return False
    if billing != known:
        _own_attempt(draft, state, gateway).billing = billing
    draft.described_at = {**draft.described_at, name: at}
    return True


def _descriptions(
    state: MessageState, observation: StatusObservation | InboundObservation
) -> tuple[tuple[str, Any], ...]:
    """Return the descriptive fields of the observation by name; None for one that it lacks."""
    # A receipt names the chat: for an inbound message that is the sender.
    ours = state.direction != "inbound" or direction_of(observation) == "inbound"
    fields = (
        ("recipient", observation.recipient if ours else None),
        ("payload", observation.payload),
        ("request_id", observation.request_id),
    )
    if isinstance(observation, InboundObservation) or observation.recipient_index is None:
        return fields
    return *fields, ("recipient_index", observation.recipient_index)


def is_newer(known_at: int | None, known: Any, at: int, value: Any) -> bool:
    """Whether (at, value) is after the known value: by time, then by canonical bytes."""
    if known_at is None or at > known_at:
        return True
    if at < known_at or (isinstance(value, str) and value == known):
        return False
    # By bytes, not by ==: 1, 1.0 and true are equal in Python, and then the first would win.
    return encode(value) > encode(known)


def _summarise(draft: MessageState) -> None:
    """Derive the fields that follow from the attempts."""
    status, failed = draft.beyond, False
    for attempt in draft.attempts.values():
        if status is None or MESSAGE_RANK[attempt.status] > MESSAGE_RANK[status]:
            status = attempt.status
        failed = failed or not attempt.facts.keys().isdisjoint(FAILURES)
    draft.status = status
    draft.contradictions = sorted(_contradictions(draft.attempts)) if failed else []
    draft.billing = _total(draft.attempts)


def _contradictions(attempts: dict[str, Attempt]) -> Iterator[Contradiction]:
    for gateway, attempt in attempts.items():
        if attempt.status in REACHED:
            for failure in FAILURES:
                if failure in attempt.facts:
                    yield Contradiction(gateway, failure, attempt.status)


def _total(attempts: dict[str, Attempt]) -> Billing | None:
    """Return the total billing; sender and network are those of the best attempt with billing."""
    if len(attempts) == 1:
        [attempt] = attempts.values()
        return attempt.billing
    billed = [(MESSAGE_RANK[one.status], name, one.billing) for name, one in attempts.items()]
    billings = [billing for _, _, billing in sorted(billed) if billing is not None]
    if len(billings) <= 1:
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


def _span(draft: MessageState) -> None:
    """Derive the first and the last time of the kept facts."""
    attempts = draft.attempts.values()
    times = [fact.received_at for attempt in attempts for fact in attempt.facts.values()]
    times += [reply.received_at for reply in draft.inbound.values()]
    if draft.viewed is not None:
        times += (draft.viewed.first_at, draft.viewed.last.received_at)
    draft.first_seen_at, draft.updated_at = min(times), max(times)
