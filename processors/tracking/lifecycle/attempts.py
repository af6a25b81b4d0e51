"""The attempts of a message: one more fact of one, and what follows for the message. Pure."""

from collections.abc import Collection, Iterator
from decimal import Decimal

from msgspec.structs import replace

from processors.tracking.lifecycle.descriptions import describe, is_newer
from processors.tracking.lifecycle.facts import when
from processors.tracking.lifecycle.ladders import Added, add_fact, highest_reached
from processors.tracking.lifecycle.state_span import derive_span, extend_span
from processors.tracking.lifecycle.statuses import FAILURES, MESSAGE_RANK, REACHED
from processors.tracking.lifecycle.verdicts import Judged, verdict_on
from schemas.bounds import Bounds
from schemas.records import (
    Attempt,
    Billing,
    Contradiction,
    MessageState,
    Status,
    StatusObservation,
    copy,
)


def observe_own(state: MessageState, observation: StatusObservation, bounds: Bounds) -> Judged:
    """Add a fact of the message itself to its state."""
    added = add_fact(state.attempts, observation, bounds)
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
    verdict = added.verdict or verdict_on(state.status, reached, observation, previous)
    return Judged(draft if changed else state, None, verdict, previous)


def _pass_bound(draft: MessageState, observation: StatusObservation) -> bool:
    """Keep the status of a gateway that the state does not hold; whether that changes it."""
    beyond = highest_reached(draft.beyond, [observation.status])
    if beyond == draft.beyond:
        return False
    draft.beyond = beyond
    _summarise(draft)
    return True


def _below(status: Status, other: Status) -> bool:
    return MESSAGE_RANK[status] < MESSAGE_RANK[other]


def _keep(draft: MessageState, added: Added, received_at: int) -> None:
    """Add the attempts that changed by a fact received at `received_at`."""
    if added.gave_way:
        _remove(draft, draft.attempts.keys() - added.attempts.keys())
    draft.attempts = added.attempts
    if added.gave_way or added.verdict == "refined":
        derive_span(draft)
    else:
        extend_span(draft, received_at)


def _remove(draft: MessageState, gone: Collection[str]) -> None:
    """Remove the billing of some attempts, and keep their highest status."""
    bills = {f"billing/{gateway}" for gateway in gone}
    draft.beyond = highest_reached(
        draft.beyond, (draft.attempts[gateway].status for gateway in gone)
    )
    draft.described_at = {n: at for n, at in draft.described_at.items() if n not in bills}


def _own_attempt(draft: MessageState, state: MessageState, gateway: str) -> Attempt:
    """Return the draft's attempt by a gateway, after copying it if it is also the state's."""
    attempt = draft.attempts[gateway]
    if attempt is state.attempts.get(gateway):
        attempt = copy(attempt)
        draft.attempts = {**draft.attempts, gateway: attempt}
    return attempt


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
