"""A time as a person writes it: `2026-11-22T04:12Z`, `2026-11-22`, `-2h`, `now`. Pure."""

import re
from datetime import UTC, date, datetime

from schemas.problem import Problem

_AGO = re.compile(r"-(\d{1,6})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_time(text: str, now: int) -> int:
    """Unix milliseconds; `now` is such a time too. Raises `Problem`."""
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return max(0, now - int(ago[1]) * _SECONDS[ago[2]] * 1000)
    moment = _moment(text)
    if moment is None or moment.timestamp() < 0:
        raise Problem(
            f"{text!r} is no time; write it with its zone, as 2026-11-22T04:12:05Z, as a day, "
            "2026-11-22 (UTC), or as so long ago: -30m, -2h, -7d, now"
        )
    return round(moment.timestamp() * 1000)


def _moment(text: str) -> datetime | None:
    """A day is its first moment; None without a zone, or if it is no time at all."""
    try:
        day = date.fromisoformat(text) if "T" not in text and " " not in text else None
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if day is not None:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return moment if moment.tzinfo else None
