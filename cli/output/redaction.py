"""The masked form of a sender's bytes: their shape, without texts or phone numbers. Pure.

It shows the names of fields, and the values of only those fields that explain a refusal.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from cli.output.records import printable

_SHAPE_CHARACTERS = 400
_LINES = 100
_WORD = 64
_FIRST_BYTES = 4

# In these fields providers send words of their own vocabulary, an id, or a time.
_TIMES = {"timestamp", "time", "created_at", "updated_at"}
_TELLING = {
    *("type", "subtype", "event", "action", "status", "result", "gateway", "channel", "direction"),
    *("id", "message_id", "request_id", "channel_id", "code", "mcc", "mnc", "parts", "currency"),
    *_TIMES,
}
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,}", re.ASCII)
_DIGITS = re.compile(r"\d{6,}")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """An object that keeps repeated names."""


_decoder = json.JSONDecoder(
    strict=False,
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=_Number,
    object_pairs_hook=_Members,
)


def shape(value: bytes) -> list[str]:
    """Return the masked lines of a body or an item: indented if JSON, else masked per character."""
    lines = [line for _, line in located(value)]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… {len(lines) - _LINES} more lines"]
    return lines


def located(value: bytes) -> list[tuple[str, str]]:
    """Return all masked lines, each with the JSON pointer of the value that it belongs to."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return [("", f"not UTF-8; it begins with {value[:_FIRST_BYTES].hex(' ')}")]
    try:
        return list(_written(_decoder.decode(text), "", "", ""))
    except (ValueError, RecursionError):
        return [("", line) for line in _anonymous(text)]


def _anonymous(text: str) -> list[str]:
    """Return the text with x for each letter and 9 for each digit."""
    begin = _DIGIT.sub("9", _LETTER.sub("x", text[:_SHAPE_CHARACTERS]))
    more = len(text) - _SHAPE_CHARACTERS
    lines = [printable(line) for line in begin.splitlines()] or [""]
    return [*lines, f"… {more} more characters"] if more > 0 else lines


def _written(value: Any, name: str, indent: str, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield masked JSON, a line for each member or element, with its pointer."""
    label = f"{indent}{json.dumps(_digits_hidden(name), ensure_ascii=False)}: " if name else indent
    if isinstance(value, _Members):
        yield pointer, label + "{"
        yield from separated(
            _written(inner, printable(member), indent + "  ", f"{pointer}/{escaped(member)}")
            for member, inner in value
        )
        yield pointer, indent + "}"
    elif isinstance(value, list):
        yield pointer, label + "["
        yield from separated(
            _written(inner, "", indent + "  ", f"{pointer}/{number}")
            for number, inner in enumerate(value)
        )
        yield pointer, indent + "]"
    else:
        yield pointer, label + _scalar(value, name)


def separated(parts: Iterable[Iterable[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Yield the lines of members or elements, each but the last with a comma after it."""
    last: tuple[str, str] | None = None
    for lines in parts:
        if last is not None:
            yield last[0], f"{last[1]},"
        *others, last = lines
        yield from others
    if last is not None:
        yield last


def escaped(name: str) -> str:
    """Return a member's name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _scalar(value: Any, name: str) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if name in _TIMES and len(value) <= _WORD:
        return _quoted(value)
    if name in _TELLING and len(value) <= _WORD:
        return _digits_hidden(_quoted(value))
    if isinstance(value, _Number):
        return _digits_hidden(value)
    if _PHONE.fullmatch(value):
        return f'"…{value[-3:]}"'
    return f"text of {len(value)} characters" if value else '""'


def _quoted(value: str) -> str:
    text = printable(value)
    return text if isinstance(value, _Number) else json.dumps(text, ensure_ascii=False)


def _digits_hidden(text: str) -> str:
    return _DIGITS.sub(lambda digits: "…" + digits[0][-3:], text)
