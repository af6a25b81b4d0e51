"""Periods as they are written in an address: `today`, `-24h`, or times with their zone. Pure.

`from` and `to` are two parameters, or one with both ends, as ISO 8601 writes it: `from=BEGIN/END`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
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
    """A period in Unix ms; None is open. `text` is `from` as a form writes it."""

    since: int | None
    until: int | None
    text: str

    def known(self, now: int) -> tuple[int, int]:
        """Return both ends, up to now."""
        return self.since or 0, self.until or now

    @property
    def words(self) -> str:
        """The period for a person, with its times in UTC."""
        if self.text in PRESETS:
            return PRESETS[self.text]
        ends = _in_words(self.since), _in_words(self.until)
        begin, end = (one.rpartition(" ") for one in ends)
        if not ends[1]:
            return f"since {ends[0]} UTC" if ends[0] else "any time"
        until = end[2] if begin[0] == end[0] else ends[1]
        return f"{ends[0]} to {until} UTC" if ends[0] else f"until {until} UTC"


def period_of(parameters: Mapping[str, str], now: int, default: str = "") -> Period:
    """Return the period of an address; raises `Problem` for a text that is no time."""
    begin, _, end = (parameters.get("from", "").strip() or default).partition("/")
    end = parameters.get("to", "").strip() or end
    return Period(_time(begin, now), _time(end, now), f"{begin}/{end}" if end else begin)


def _in_words(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%d %b %Y %H:%M}"


def _time(text: str, now: int) -> int | None:
    if text in ("", "oldest"):
        return None
    return now - now % _DAY_MS if text == TODAY else time_of(text, now)
