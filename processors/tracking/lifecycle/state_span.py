"""The first and the last time at which a fact of a state was received. Pure."""

from schemas.records import MessageState


def extend_span(draft: MessageState, received_at: int) -> None:
    """Extend the span of the state to a fact that is added."""
    draft.first_seen_at = min(draft.first_seen_at, received_at)
    draft.updated_at = max(draft.updated_at, received_at)


def derive_span(draft: MessageState) -> None:
    """Derive the first and the last time of the kept facts."""
    attempts = draft.attempts.values()
    times = [fact.received_at for attempt in attempts for fact in attempt.facts.values()]
    times += [reply.received_at for reply in draft.inbound.values()]
    if draft.viewed is not None:
        times += (draft.viewed.first_at, draft.viewed.last.received_at)
    draft.first_seen_at, draft.updated_at = min(times), max(times)
