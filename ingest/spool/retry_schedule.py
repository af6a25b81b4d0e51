"""The retry schedule of slots that dead processes left, and when to give one up for a while. Pure.

A slot whose bodies Kafka does not accept must not delay the others. After some attempts without
success it is skipped for a while. Its bodies stay, and the next attempt continues after the last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# How long a slot is skipped after ingest has given it up.
SKIP_SECONDS = 60.0

# Ingest gives a slot up after this many windows in a row without success, even if more follow.
MOST_IN_VAIN = 20


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A slot that could not be emptied: when that was, and after which body to continue."""

    at: float
    after: int = 0


def in_vain(windows: int, *, ended: bool) -> bool:
    """Whether to give up after `windows` windows in a row of which Kafka accepted no body.

    `ended` is true if no body follows the last window.
    """
    return windows >= MOST_IN_VAIN or (ended and windows > 0)


def due(holding: Iterable[str], given_up: Mapping[str, GivenUp], now: float) -> list[str]:
    """Return the slots to try now: first those not given up, then the one given up longest ago."""
    found = {name: given_up[name].at if name in given_up else float("-inf") for name in holding}
    return sorted(
        (name for name in found if now - found[name] >= SKIP_SECONDS), key=lambda name: found[name]
    )
