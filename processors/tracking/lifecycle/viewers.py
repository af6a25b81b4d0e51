"""The viewers of a message: one more receipt of one, and how many reached each status. Pure."""

from collections.abc import Mapping

from msgspec.structs import replace

from processors.tracking.lifecycle.descriptions import describe
from processors.tracking.lifecycle.ladders import add_fact, highest_reached
from processors.tracking.lifecycle.state_span import extend_span
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, REACHED
from processors.tracking.lifecycle.verdicts import Judged, verdict_on
from schemas.bounds import Bounds
from schemas.codec import encode
from schemas.records import (
    Ladder,
    MessageState,
    RawOrigin,
    Status,
    StatusObservation,
    Viewed,
    ViewerState,
    cause_of,
    copy,
)


def observe_viewer(
    state: MessageState, observation: StatusObservation, known: ViewerState, bounds: Bounds
) -> Judged:
    """Add a receipt by a viewer to the viewer's state, and count it in the message's."""
    added = add_fact(known.attempts, observation, bounds)
    viewer = known
    if added.attempts is not known.attempts:
        beyond = highest_reached(known.beyond, _gave_way(known.attempts, added.attempts))
        viewer = replace(known, attempts=added.attempts, beyond=beyond)
    elif observation.gateway not in added.attempts:
        viewer = replace(known, beyond=highest_reached(known.beyond, [observation.status]))
    draft = copy(state)
    changed = describe(draft, observation, bounds) | _view(draft, observation)
    changed |= _count(draft, known, viewer)
    after = draft if changed else state
    before = known.attempts.get(observation.gateway)
    previous = before.status if before else None
    if added.verdict is not None:
        return Judged(after, viewer, added.verdict, previous)
    reached = viewer.attempts[observation.gateway].status
    return Judged(after, viewer, verdict_on(previous, reached, observation, previous), previous)


def outlived(viewer: ViewerState, state: MessageState | None) -> bool:
    """Whether the viewer's message has expired; `state` may be a later one of the same key."""
    attempts = viewer.attempts.values()
    newest = max(fact.received_at for one in attempts for fact in one.facts.values())
    return state is None or newest < state.first_seen_at


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
    extend_span(draft, at)
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


def _viewer_rank(viewer: ViewerState) -> int:
    """Return the highest rung that a viewer reached by any gateway; -1 if there is none."""
    ranks = [ATTEMPT_RANK[ladder.status] for ladder in viewer.attempts.values()]
    return max(ranks + ([ATTEMPT_RANK[viewer.beyond]] if viewer.beyond else []), default=-1)


def _audience(counts: dict[str, int], before: int, after: int) -> dict[str, int]:
    """Count the viewers at or above each rung, after one rose from `before` to `after`."""
    passed = [rung for rung in REACHED if before < ATTEMPT_RANK[rung] <= after]
    return {**counts, **{rung: counts.get(rung, 0) + 1 for rung in passed}}


def _gave_way(before: Mapping[str, Ladder], after: Mapping[str, Ladder]) -> list[Status]:
    """Return the last status of the ladders that are no longer kept."""
    return [ladder.status for gateway, ladder in before.items() if gateway not in after]
