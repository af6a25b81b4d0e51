"""What the spool holds, and whether it may take more: pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """What waits in the spool; `oldest` is when the first of it was received, Unix milliseconds."""

    bodies: int = 0
    bytes: int = 0
    oldest: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the spool may hold, in bytes, and for how long, in seconds."""

    max_bytes: int
    max_age: float


def refusal(held: Held, bounds: Bounds, *, size: int, now: int) -> str | None:
    """Why the spool takes no further body of this size, in one sentence; None if it does."""
    if held.bytes + size > bounds.max_bytes:
        return (
            f"the spool is full: {held.bytes} bytes of {bounds.max_bytes} "
            "(BLUETICK_SPOOL_MAX_BYTES); bring Kafka back, or raise the bound"
        )
    if held.oldest is not None and now - held.oldest > bounds.max_age * 1000:
        return (
            f"the spool is too old: its first body has waited {(now - held.oldest) // 1000} s of "
            f"{bounds.max_age:.0f} (BLUETICK_SPOOL_MAX_AGE); bring Kafka back, or raise the bound"
        )
    return None
