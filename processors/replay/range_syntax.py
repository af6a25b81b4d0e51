"""The arguments of a replay: times, offsets, and the selection of observations. Pure."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from providers.rejection import Code
from schemas.records import Status
from service.errors import Problem

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"-(\d{1,6})([smhdw])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_OFFSETS = re.compile(r"(\d{1,4}):(\d{1,18})-(\d{1,18})")


class Only(NamedTuple):
    """The selection: a canonical status, a message, or bodies with a dead letter of a code."""

    kind: Literal["status", "key", "code"]
    value: str


def time_of(text: str, now: int) -> int:
    """Return the Unix milliseconds of a typed time; `now` is the base of `now` and `-2h`."""
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return max(0, now - int(ago[1]) * _UNITS_MS[ago[2]])
    try:
        moment = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            moment = moment.replace(tzinfo=UTC)
        time = round(moment.timestamp() * 1000) if moment.tzinfo else None
    except (ValueError, OverflowError):
        time = -1
    if time is None:
        raise Problem("time_without_zone", text=text)
    if time < 0:
        raise Problem("not_a_time", text=text)
    return time


def times_of(since: str | None, until: str | None, now: int) -> tuple[int | None, int | None]:
    """Return both ends of a time range; None where it is open, for example for `oldest`."""
    start = None if since in (None, "oldest") else time_of(since, now)
    return start, None if until is None else time_of(until, now)


def offsets_of(texts: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Return ranges of offsets by partition, from texts such as `0:100-200` (200 is excluded)."""
    offsets: dict[int, tuple[int, int]] = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text)
        if not match:
            raise Problem("not_offsets", text=text)
        partition, first, end = map(int, match.groups())
        if partition in offsets:
            raise Problem("partition_twice", partition=partition)
        offsets[partition] = first, end
    return offsets


def only_of(text: str) -> Only:
    """Return the selection of a typed status, code or message key; the form decides which."""
    if text in get_args(Status):
        return Only("status", text)
    if text in get_args(Code):
        return Only("code", text)
    if text.count("/") >= 2:  # noqa: PLR2004 - provider/account/message_id
        return Only("key", text)
    raise Problem("only_unknown", text=text, statuses=get_args(Status), codes=get_args(Code))
