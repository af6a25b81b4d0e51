"""The contents of the spool, and whether it may take more. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """The contents of the spool; `oldest` is the first reception time, in Unix milliseconds."""

    bodies: int = 0
    bytes: int = 0
    oldest: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The quota of the spool: bytes, and the age of its oldest body in seconds."""

    max_bytes: int
    max_age: float


def refusal(held: Held, bounds: Bounds, *, size: int, now: int) -> str | None:
    """Return why the spool refuses a body of this size, in one sentence; None if it accepts it."""
    if held.bytes + size > bounds.max_bytes:
        return (
            f"the spool is full: {held.bytes} bytes of {bounds.max_bytes} "
            f"(BLUETICK_SPOOL_MAX_BYTES) leave no room for a body of {size} bytes; restore Kafka, "
            "or raise the bound"
        )
    if held.oldest is not None and now - held.oldest > bounds.max_age * 1000:
        return (
            f"the spool is too old: its first body has waited {(now - held.oldest) // 1000} s of "
            f"{bounds.max_age:.0f} (BLUETICK_SPOOL_MAX_AGE); restore Kafka, or raise the bound"
        )
    return None
