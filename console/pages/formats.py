"""Values as a page writes them: times, durations, counts, shares, sizes, countries. Pure."""

import json
from datetime import UTC, datetime

from markupsafe import Markup
from phonenumbers.geodata.locale import LOCALE_DATA

from console.read_model.results import Why
from schemas.webhook import to_iso

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_FEW_SECONDS = 10_000
_KIBI = 1024

_TONES = {
    "delivered": "good",
    "read": "good",
    "played": "good",
    "rejected": "bad",
    "undelivered": "bad",
    "failed": "bad",
    "expired": "bad",
    "deleted": "aside",
    "unknown": "aside",
}


FAILED = tuple(status for status, tone in _TONES.items() if tone == "bad")
"""The statuses of messages that were not delivered."""


def moment(at: int | None) -> Markup:
    """Return a time in UTC; the page's script writes it in the viewer's zone."""
    if at is None:
        return Markup("-")
    text = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" data-at="{}">{}</time>').format(to_iso(at), at, text)


def duration(milliseconds: float | None) -> str:
    """Return a duration with its two greatest units: `850 ms`, `4.2 s`, `2 h 5 min`."""
    if milliseconds is None:
        return "-"
    whole = round(abs(milliseconds))
    if whole < 1000:  # noqa: PLR2004 - milliseconds of a second
        return f"{whole} ms"
    if whole < _FEW_SECONDS:
        return f"{whole / 1000:.1f} s"
    for place, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            rest = _UNITS[place + 1] if place + 1 < len(_UNITS) else None
            more = rest and whole % size // rest[0]
            return f"{whole // size} {unit}" + (f" {more} {rest[1]}" if rest and more else "")
    raise AssertionError  # every duration has a unit


def count(number: float | None) -> str:
    """Return a number with commas."""
    return "-" if number is None else f"{number:,.0f}"


def short(number: float) -> str:
    """Return a number for an axis: `1.5k`."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return f"{number:.1f}".removesuffix(".0")


def share(part: float | None) -> str:
    """Return a share of 1 in percent, and never 100 % for less than all."""
    if part is None:
        return "-"
    percent = f"{part * 100:.1f}"
    if percent == "100.0":
        return "100 %" if part >= 1 else "99.9 %"
    return f"{percent} %"


def size(number: int) -> str:
    """Return a number of bytes."""
    if number < _KIBI:
        return f"{number} bytes"
    kibi = number / _KIBI
    return f"{kibi:.1f} KiB" if kibi < _KIBI else f"{kibi / _KIBI:.1f} MiB"


def country(code: str | None) -> str:
    """Return a country's name by its ISO code; the code if it has no name here."""
    if not code:
        return "unknown"
    names = LOCALE_DATA.get(code, {})
    name = names.get("en", code)
    # A name that begins with * is that of another language.
    return names.get(name[1:], code) if name.startswith("*") else name


def cause(text: str) -> str:
    """Return the cause of dead letters for a person: `#` in it stands for any number.

    In the name of the encoding it is always the same one.
    """
    return text.replace("UTF-#", "UTF-8").replace("#", "[number]")


def telling(reason: Why | None, *statuses: str | None) -> str | None:
    """Return the text of a reason; None if it is nothing but the status, in whatever spelling."""
    text = reason.text if reason else None
    known = {_letters_of(one) for one in statuses if one}
    return None if text is None or _letters_of(text) in known else text


def _letters_of(text: str) -> str:
    return "".join(one for one in text.casefold() if one.isalnum())


def tone(status: str | None) -> str:
    """Return the class of a status: good, bad, aside or progress."""
    return _TONES.get(status or "", "progress")


def indented(value: object) -> str:
    """Return JSON as indented text."""
    return json.dumps(value, indent=2, ensure_ascii=False)
