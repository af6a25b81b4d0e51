"""How far a machine's clock is from Kafka's: estimate, judgement, sentences. Pure.

Decision 21 says why Kafka's clock is the reference. A machine has two clocks here: the wall clock,
which people set, and the time since its start, which only goes up.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

# An offset is judged by what is certain of it: its distance from zero, less the error bound.
WARNING_SECONDS = 5.0
UNREADY_SECONDS = 60.0

# A warning is repeated after so many seconds, or once the offset has changed by so many.
_REPEAT_SECONDS = 600.0
_CHANGE_SECONDS = 5.0

State = Literal["right", "wrong", "unready"]


class Sample(NamedTuple):
    """One exchange with a broker, in milliseconds.

    `sent` and `heard` are times since the machine's start, `kafka` the broker's Unix time at some
    moment between them, without the fraction of a millisecond.
    """

    sent: float
    heard: float
    kafka: int


class Estimate(NamedTuple):
    """Kafka's time is `base` plus the time since the machine's start, in error by `bound` at most.

    Both are milliseconds.
    """

    base: float
    bound: float

    def at(self, uptime: float) -> int:
        """Kafka's time in Unix milliseconds, so long after the machine's start."""
        return round(self.base + uptime)

    def offset(self, wall: float, uptime: float) -> float:
        """By how many seconds a wall clock that shows `wall` (Unix ms) is ahead of Kafka's."""
        return (wall - self.base - uptime) / 1000


class Said(NamedTuple):
    """What was logged last: the state, the offset and when, in seconds that only go up."""

    state: State
    offset: float
    at: float


def estimate(samples: Iterable[Sample]) -> Estimate:
    """The best of several exchanges: of the quickest, the middle.

    The broker read its clock at an unknown moment of the round trip, so half of it is the error
    bound, and half a millisecond more as the broker's time has no fraction.
    """
    best = min(samples, key=lambda one: one.heard - one.sent)
    middle = (best.sent + best.heard) / 2
    return Estimate(best.kafka + 0.5 - middle, (best.heard - best.sent) / 2 + 0.5)


def judge(offset: float, bound: float) -> State:
    """What an offset means for a service; both are seconds."""
    certain = abs(offset) - bound
    if certain > UNREADY_SECONDS:
        return "unready"
    return "wrong" if certain > WARNING_SECONDS else "right"


def must_say(last: Said | None, state: State, offset: float, at: float) -> bool:
    """Whether a line is due in the log; `at` is in seconds that only go up."""
    if state == "right":
        return last is not None and last.state != "right"
    if last is None or last.state != state:
        return True
    return abs(offset - last.offset) > _CHANGE_SECONDS or at - last.at >= _REPEAT_SECONDS


def difference(offset: float, bound: float) -> str:
    """The offset in words."""
    way = "ahead of" if offset > 0 else "behind"
    return f"this machine's clock is {abs(offset):.1f} s {way} Kafka's (± {bound:.3f} s)"


def wrong(offset: float, bound: float) -> str:
    """Say that the clocks differ, and what to do."""
    return f"{difference(offset, bound)}; set the wrong one of the two, and keep both set by NTP"


def right_again(offset: float, bound: float) -> str:
    """Say that the clocks agree."""
    return f"{difference(offset, bound)}, which is right again"


def not_compared(why: str) -> str:
    """Say that a machine's own clock is used, and why."""
    return f"this machine's clock cannot be compared with Kafka's: {why}"


def refused_time(known: str) -> str:
    """Say that Kafka refuses records for their time; `known` is what is known of the clocks."""
    return (
        "Kafka refuses the records' time (InvalidTimestamp): it is too far from the broker's own "
        f"(message.timestamp.after.max.ms, …before.max.ms); {known}"
    )
