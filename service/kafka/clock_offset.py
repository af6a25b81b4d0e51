"""The offset of a machine's clock from Kafka's: estimate, state, sentences. Pure.

Decision 21 explains why Kafka's clock is the reference. A machine has two clocks here: the wall
clock, which can be set, and the time since its start, which only increases.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

# An offset is classified by its certain part: its distance from zero, less the error bound.
WARNING_SECONDS = 5.0
UNREADY_SECONDS = 60.0

# A warning is repeated after this many seconds, or once the offset has changed by this many.
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
        """Return Kafka's time in Unix milliseconds, at a time since the machine's start."""
        return round(self.base + uptime)

    def offset(self, wall: float, uptime: float) -> float:
        """Return how many seconds a wall clock that shows `wall` (Unix ms) is ahead of Kafka's."""
        return (wall - self.base - uptime) / 1000


class Logged(NamedTuple):
    """The last logged line: the state, the offset, and its monotonic time in seconds."""

    state: State
    offset: float
    at: float


def estimate(samples: Iterable[Sample]) -> Estimate:
    """Return the best of several exchanges: the middle of the quickest round trip.

    The broker read its clock at an unknown moment of the round trip. The error bound is half of the
    round trip, and half a millisecond more because the broker's time has no fraction.
    """
    best = min(samples, key=lambda one: one.heard - one.sent)
    middle = (best.sent + best.heard) / 2
    return Estimate(best.kafka + 0.5 - middle, (best.heard - best.sent) / 2 + 0.5)


def judge(offset: float, bound: float) -> State:
    """Return the state of a service's clock; both arguments are seconds."""
    certain = abs(offset) - bound
    if certain > UNREADY_SECONDS:
        return "unready"
    return "wrong" if certain > WARNING_SECONDS else "right"


def line_due(last: Logged | None, state: State, offset: float, at: float) -> bool:
    """Whether a log line is due; `at` is a monotonic time in seconds."""
    if state == "right":
        return last is not None and last.state != "right"
    if last is None or last.state != state:
        return True
    return abs(offset - last.offset) > _CHANGE_SECONDS or at - last.at >= _REPEAT_SECONDS


def difference(offset: float, bound: float) -> str:
    """Return the offset as a sentence."""
    way = "ahead of" if offset > 0 else "behind"
    return f"this machine's clock is {abs(offset):.1f} s {way} Kafka's (± {bound:.3f} s)"


def differ(offset: float, bound: float) -> str:
    """Return the sentence for clocks that differ, with what to do."""
    return f"{difference(offset, bound)}; correct the wrong one, and synchronise both by NTP"


def agree_again(offset: float, bound: float) -> str:
    """Return the sentence for clocks that agree again."""
    return f"{difference(offset, bound)}; the clocks agree again"


def not_compared(why: str) -> str:
    """Return the sentence for a clock that cannot be compared, with the reason."""
    return f"this machine's clock cannot be compared with Kafka's: {why}"


def refused_time(known: str) -> str:
    """Return the sentence for records refused for their time; `known` describes the clocks."""
    return (
        "Kafka refuses the records' time (InvalidTimestamp): it is too far from the broker's own "
        f"(message.timestamp.after.max.ms, …before.max.ms); {known}"
    )
