"""Periods as they are written in an address: `today`, `-24h`, or a time with its zone. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from processors.replay.range_syntax import time_of

_DAY_MS = 86_400_000
TODAY = "today"

PRESETS: Mapping[str, str] = {
    "-1h": "last hour",
    "-24h": "last 24 hours",
    TODAY: "today (UTC)",
    "-7d": "last 7 days",
    "-30d": "last 30 days",
}


class Period(NamedTuple):
    """A period in Unix ms; None is open. `text` is its begin as it was written."""

    since: int | None
    until: int | None
    text: str

    def known(self, now: int) -> tuple[int, int]:
        """Return both ends, up to now."""
        return self.since or 0, self.until or now


def period_of(parameters: Mapping[str, str], now: int, default: str = "") -> Period:
    """Return the period of an address; raises `Problem` for a text that is no time."""
    since, until = parameters.get("from", "").strip() or default, parameters.get("to", "").strip()
    return Period(_time(since, now), _time(until, now), since)


def _time(text: str, now: int) -> int | None:
    if text in ("", "oldest"):
        return None
    return now - now % _DAY_MS if text == TODAY else time_of(text, now)
