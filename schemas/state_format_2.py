"""The second format of states, which knew no rank of contents, read as today's (format 3)."""

from typing import Any

from msgspec.structs import replace

from schemas.content_rank import rank_of
from schemas.records import STATE_VERSION, MessageState, ViewerState

# A direction and a content had a time; now one follows from a fixed order, the other has a rank.
_UNDATED = ("direction", "content")


def message_of_second(state: MessageState) -> MessageState:
    """A message's state today, from one in the second format."""
    changed: dict[str, Any] = {"version": STATE_VERSION}
    described = {n: at for n, at in state.described_at.items() if n not in _UNDATED}
    if state.content is not None:
        at = state.described_at.get("content", state.updated_at)
        changed["content_rank"] = rank_of(state.content, at)
    if state.direction == "inbound":
        changed["replied_at"] = None
        if not _names_recipient(state):
            changed["recipient"] = None
            described.pop("recipient", None)
    return replace(state, **changed, described_at=described)


def viewer_of_second(viewer: ViewerState) -> ViewerState:
    """A viewer's state today, from one in the second format: only the number differs."""
    return replace(viewer, version=STATE_VERSION)


def _names_recipient(state: MessageState) -> bool:
    """Whether an inbound message named its recipient; else a receipt did, and named the sender."""
    own = state.inbound.get(state.message_key)
    if own is None:
        return False
    at = own.received_at if own.occurred_at is None else own.occurred_at
    return state.described_at.get("recipient") == at
