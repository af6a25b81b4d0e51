"""The usual observation, judged without the steps that it does not need. Pure.

Most observations report a status of a message with a single gateway, and neither viewers nor a
contradiction are involved. `observe` judges these as `observed_status.observe` does, with the same
result in two thirds of the time, and leaves all others to it. A test compares both
(docs/decisions/0034-track-speed.md).
"""

from processors.tracking.lifecycle.descriptions import describe, is_newer
from processors.tracking.lifecycle.facts import earlier, fact_of, when
from processors.tracking.lifecycle.state_span import extend_span
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, FAILURES, REACHED, UNDERWAY
from processors.tracking.lifecycle.verdicts import Judged
from schemas.bounds import Bounds
from schemas.records import Attempt, MessageState, Status, StatusObservation, Verdict, copy

_USUAL = frozenset((*UNDERWAY, *FAILURES, *REACHED))


def observe(state: MessageState, new: StatusObservation, bounds: Bounds) -> Judged | None:
    """Return the same as `observed_status.observe`, or None if the fact is not a usual one."""
    attempt = state.attempts.get(new.gateway)
    if not _is_usual(state, new) or not _is_simple(state, attempt, new, bounds):
        return None
    if attempt is None:
        attempt = Attempt(status=new.status, facts={}, channel=new.channel)
        return _add(state, new, attempt, None, bounds)
    known = attempt.facts.get(new.status)
    if known is None:
        return _add(state, new, copy(attempt), attempt.status, bounds)
    return _repeat(state, new, attempt, bounds) if earlier(known, fact_of(new)) is known else None


def _is_usual(state: MessageState, new: StatusObservation) -> bool:
    return (
        new.status in _USUAL
        and not new.viewer
        and state.beyond is None
        and not state.contradictions
    )


def _is_simple(
    state: MessageState, attempt: Attempt | None, new: StatusObservation, bounds: Bounds
) -> bool:
    """Whether it is the message's first gateway, or its only one and in accord with the fact."""
    if attempt is None:
        return not state.attempts
    return (
        len(state.attempts) == 1
        and len(attempt.facts) < bounds.words
        and attempt.channel == new.channel
        and not _is_conflict(attempt.status, new.status)
    )


def _is_conflict(status: Status, new: Status) -> bool:
    """Whether one of them is a failure and the other a delivery."""
    return (new in FAILURES and status in REACHED) or (new in REACHED and status in FAILURES)


def _add(
    state: MessageState,
    new: StatusObservation,
    attempt: Attempt,
    previous: Status | None,
    bounds: Bounds,
) -> Judged:
    """Add a fact to a new attempt, or to a copy of the present one, whose status is `previous`."""
    status = new.status
    if previous is not None and ATTEMPT_RANK[status] > ATTEMPT_RANK[previous]:
        attempt.status = status
    attempt.facts = {**attempt.facts, status: fact_of(new)}
    after = copy(state)
    describe(after, new, bounds)
    if new.billing is not None:
        _bill(after, attempt, new)
    after.attempts = {new.gateway: attempt}
    after.status, after.billing = attempt.status, attempt.billing
    extend_span(after, new.received_at)
    verdict: Verdict = "late" if after.status == state.status else "advanced"
    return Judged(after, None, verdict, previous)


def _repeat(
    state: MessageState, new: StatusObservation, attempt: Attempt, bounds: Bounds
) -> Judged:
    """Take the descriptive fields of an observation whose fact is known."""
    after, copied = copy(state), copy(attempt)
    changed = describe(after, new, bounds)
    if new.billing is not None and _bill(after, copied, new):
        changed = True
        if copied.billing != attempt.billing:
            after.attempts = {new.gateway: copied}
            after.billing = copied.billing
    return Judged(after if changed else state, None, "duplicate", attempt.status)


def _bill(after: MessageState, attempt: Attempt, new: StatusObservation) -> bool:
    """Take the billing if it is newer; whether it is. `attempt` is a copy."""
    name, at = f"billing/{new.gateway}", when(new)
    if not is_newer(after.described_at.get(name), attempt.billing, at, new.billing):
        return False
    attempt.billing = new.billing
    after.described_at = {**after.described_at, name: at}
    return True
