"""The timeline of a message: attempts as rows, facts in event time, stalls and gaps. Pure.

Facts are seconds apart, then days: a scale in proportion would put most of them on one point. So
each distinct time has a column, and the time between two columns is written above them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from markupsafe import Markup

from console.charts.svg import Box, clock, drawing, element, words

Kind = Literal["progress", "good", "bad", "aside", "alarm", "reply"]
Shape = Literal["plain", "late", "contradiction", "recovered", "aside"]

_LABEL, _COLUMN, _ROW, _HEAD = 150, 118, 76, 48
_RADIUS = 8
# The classes of the style sheet that give a picture of so many columns its width.
_NARROWEST, _WIDEST = 2, 12
_LONG_GAP_MS = 3_600_000


class Mark(NamedTuple):
    """A fact: when (Unix ms), its words, its kind and shape, and the link to its details."""

    at: int
    text: str
    note: str
    kind: Kind
    shape: Shape
    href: str


class Row(NamedTuple):
    """One attempt, or the events beside them, with its marks."""

    name: str
    note: str
    marks: Sequence[Mark]


class Span(NamedTuple):
    """A time without progress; `end` is None while it lasts."""

    begin: int
    end: int | None
    text: str


Column = tuple[int, int]
"""A time, and the place among the facts of one row that have this same time."""


def timeline(
    label: str, rows: Sequence[Row], stalls: Sequence[Span], duration: Callable[[int], str]
) -> Markup:
    """Return the picture; `duration` writes milliseconds."""
    placed = [list(_placed(row.marks)) for row in rows]
    ends = {(at, 0) for one in stalls for at in (one.begin, one.end) if at is not None}
    order = sorted({column for marks in placed for column, _ in marks} | ends)
    columns = {column: _LABEL + _COLUMN * (place + 0.5) for place, column in enumerate(order)}
    open_end = any(one.end is None for one in stalls)
    width = _LABEL + _COLUMN * max(1, len(order)) + (_COLUMN / 2 if open_end else 0)
    area = Box(_LABEL, _HEAD - 6, width - _LABEL, _ROW * len(rows) + 6)
    return drawing(
        width,
        area.bottom + 6,
        label,
        *(_stall(one, columns, area) for one in stalls),
        *_head(columns, area.bottom, duration),
        *(
            _row(_HEAD + _ROW * place, row, [(columns[c], mark) for c, mark in marks], width)
            for place, (row, marks) in enumerate(zip(rows, placed, strict=True))
        ),
        class_=f"timeline w{min(_WIDEST, max(_NARROWEST, len(order)))}",
        links=True,
    )


def _placed(marks: Sequence[Mark]) -> Iterator[tuple[Column, Mark]]:
    """Yield the marks of a row with their columns; those of one time side by side."""
    for at, same in groupby(sorted(marks, key=lambda mark: mark.at), lambda mark: mark.at):
        for number, mark in enumerate(same):
            yield (at, number), mark


def _head(
    columns: Mapping[Column, float], bottom: float, duration: Callable[[int], str]
) -> list[Markup]:
    """Return the times, a line for each, and the durations between them."""
    drawn = []
    for (at, number), x in columns.items():
        if not number:
            drawn.append(clock(x, 14, at, "moment", "axis mid strong"))
        drawn.append(element("line", x1=x, x2=x, y1=38, y2=bottom, class_="grid"))
    for ((one, _), left), ((other, _), right) in pairwise(columns.items()):
        if gap := other - one:
            class_ = "gap long" if gap >= _LONG_GAP_MS else "gap"
            drawn.append(words((left + right) / 2, 32, f"+{duration(gap)}", f"axis mid {class_}"))
    return drawn


def _stall(one: Span, columns: Mapping[Column, float], area: Box) -> Markup:
    left = columns[one.begin, 0]
    right = area.right if one.end is None else columns[one.end, 0]
    band = {"x": left, "y": area.top, "width": max(2.0, right - left), "height": area.height}
    return element("rect", element("title", one.text), class_="stall", **band)


def _row(top: float, row: Row, marks: Sequence[tuple[float, Mark]], width: float) -> Markup:
    middle = top + 26
    return element(
        "g",
        words(0, middle - 2, row.name, "name"),
        words(0, middle + 15, row.note, "note"),
        element("line", x1=_LABEL, x2=width, y1=middle, y2=middle, class_="row"),
        *(_mark(mark, x, middle) for x, mark in marks),
    )


def _mark(mark: Mark, x: float, y: float) -> Markup:
    label = f"{mark.text}, {mark.note}" if mark.note else mark.text
    return element(
        "a",
        element("title", label),
        _shape(mark, x, y),
        words(x, y + 26, mark.text, "mid mark"),
        words(x, y + 41, mark.note, "mid note"),
        href=mark.href,
    )


def _shape(mark: Mark, x: float, y: float) -> Markup:
    """Return a fact's shape: a contradiction is a diamond, what did not advance is hollow."""
    class_ = f"mark {mark.kind} {mark.shape}"
    if mark.shape == "contradiction":
        edge = _RADIUS + 2
        corners = f"{x},{y - edge} {x + edge},{y} {x},{y + edge} {x - edge},{y}"
        return element("polygon", points=corners, class_=class_)
    if mark.shape == "aside":
        side = 2 * _RADIUS - 2
        return element(
            "rect", x=x - side / 2, y=y - side / 2, width=side, height=side, class_=class_
        )
    return element("circle", cx=x, cy=y, r=_RADIUS, class_=class_)
