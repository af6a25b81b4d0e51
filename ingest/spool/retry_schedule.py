"""Whose turn it is of the places that the dead left, and when one is given up: pure.

A place whose bodies Kafka does not take must not hold up the others. It is given up for a while,
and nothing of it is lost: its next turn begins where the last one ended.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# A place that was given up is left alone for so long.
SKIP_SECONDS = 60.0

# So many windows in a row in vain are enough, though there may be more in the file.
MOST_IN_VAIN = 20


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A place that could not be emptied: when that was, and behind which body to go on."""

    at: float
    after: int = 0


def in_vain(windows: int, *, ended: bool) -> bool:
    """Whether to give up after so many windows in a row of which Kafka took nothing.

    `ended` says that there is nothing behind the last one.
    """
    return windows >= MOST_IN_VAIN or (ended and windows > 0)


def due(holding: Iterable[str], given_up: Mapping[str, GivenUp], now: float) -> list[str]:
    """The places to try now, in order: those not given up first, then the longest ago."""
    found = {name: given_up[name].at if name in given_up else float("-inf") for name in holding}
    return sorted(
        (name for name in found if now - found[name] >= SKIP_SECONDS), key=lambda name: found[name]
    )
