"""Inbound messages and replies: adding one to the state of a message. Pure."""

from collections.abc import Mapping
from typing import Literal

from processors.tracking.lifecycle.descriptions import corrects, describe
from processors.tracking.lifecycle.facts import earlier, when
from processors.tracking.lifecycle.state_span import derive_span
from schemas.bounds import BOUNDS, Bounds, first_entries
from schemas.records import InboundObservation, MessageState, Reply, copy

Answered = Literal["inbound", "corrected", "duplicate", "too_many_replies"]
"""The outcome of an inbound message; `corrected`: a better content of it became known."""


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
            derive_span(draft)
            changed = True
        else:
            outcome = "too_many_replies"
    return draft if changed else state, outcome


def _replied_at(state: MessageState, inbound: Mapping[str, Reply]) -> int | None:
    """Return the time of the first reply; people also quote messages that are not outbound."""
    if state.direction == "inbound":
        return None
    replies = (when(one) for key, one in inbound.items() if key != state.message_key)
    return min(replies, default=None)
