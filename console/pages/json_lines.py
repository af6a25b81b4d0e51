"""JSON as indented lines, with the lines of one pointer marked. Pure."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cli.output import redaction

_INDENT = "  "
_AROUND = 12
_MOST = 400


class Line(NamedTuple):
    """A line of text; `marked` is whether it belongs to the pointer."""

    text: str
    marked: bool = False


def lines_of(body: bytes, pointer: str, *, reveal: bool, most: int = _MOST) -> list[Line]:
    """Return a body as lines; numbers and texts are masked without `reveal`.

    A body that is no JSON is its text, or its bytes in hexadecimal. Of a body with more than `most`
    lines those around the pointer are returned.
    """
    located = _located(body) if reveal else redaction.located(body)
    return _window(
        [
            Line(text, bool(pointer) and (at == pointer or at.startswith(f"{pointer}/")))
            for at, text in located
        ],
        most,
    )


def _located(body: bytes) -> list[tuple[str, str]]:
    try:
        return list(_written(json.loads(body), None, "", ""))
    except (ValueError, RecursionError):
        pass
    try:
        return [("", line) for line in body.decode().splitlines()]
    except UnicodeDecodeError:
        return [("", body[at : at + 16].hex(" ")) for at in range(0, len(body), 16)]


def _window(lines: list[Line], most: int) -> list[Line]:
    """Return at most so many lines: those from a little before the first marked one."""
    if len(lines) <= most:
        return lines
    first = next((place for place, line in enumerate(lines) if line.marked), 0)
    begin = max(0, first - _AROUND)
    shown = lines[begin : begin + most]
    before = [Line(f"… {begin} lines")] if begin else []
    left = len(lines) - begin - len(shown)
    return [*before, *shown, *([Line(f"… {left} lines")] if left else [])]


def _written(value: Any, name: str | None, pointer: str, indent: str) -> Iterator[tuple[str, str]]:
    """Yield the pointer and the text of each line."""
    begin = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}: "
    label = indent + begin
    if isinstance(value, dict) and value:
        yield pointer, f"{label}{{"
        yield from redaction.separated(
            _written(inner, key, f"{pointer}/{redaction.escaped(key)}", indent + _INDENT)
            for key, inner in value.items()
        )
        yield pointer, f"{indent}}}"
    elif isinstance(value, list) and value:
        yield pointer, f"{label}["
        yield from redaction.separated(
            _written(inner, None, f"{pointer}/{place}", indent + _INDENT)
            for place, inner in enumerate(value)
        )
        yield pointer, f"{indent}]"
    else:
        yield pointer, label + json.dumps(value, ensure_ascii=False)
