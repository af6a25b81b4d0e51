"""The descriptive fields of a message and its content: the newest, or the richest, counts. Pure."""

import math
from typing import Any

from processors.tracking.lifecycle.facts import when
from schemas.bounds import Bounds
from schemas.codec import encode
from schemas.content_rank import ContentRank, rank_of
from schemas.records import Direction, InboundObservation, MessageState, StatusObservation

# The direction follows from all observations: a known direction ranks above an unknown one.
_DIRECTIONS: dict[Direction, int] = {"unknown": 0, "outbound": 1, "inbound": 2}

_NEVER = -math.inf


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


def corrects(before: ContentRank | None, after: ContentRank | None) -> bool:
    """Whether a content is better than the one before; the same one with a later time is not."""
    if before is None or after is None:
        return after is not None
    return after > before and after.digest != before.digest
