"""A bar of shares. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.charts.svg import drawing, element

_WIDTH, _HEIGHT = 120, 10


class Part(NamedTuple):
    """A part of a bar: its name, its count and the class of its colour."""

    name: str
    number: int
    class_: str


def share_bar(label: str, parts: Sequence[Part]) -> Markup:
    """Return one bar, divided by the counts; an empty one if they are all 0."""
    total = sum(part.number for part in parts)
    begin, drawn = 0.0, [element("rect", width=_WIDTH, height=_HEIGHT, class_="empty")]
    for part in parts:
        if part.number > 0:
            width = _WIDTH * part.number / total
            title = element("title", f"{part.name}: {part.number:,}")
            shape = {"x": begin, "width": width, "height": _HEIGHT, "class_": part.class_}
            drawn.append(element("rect", title, **shape))
            begin += width
    return drawing(_WIDTH, _HEIGHT, label, *drawn, class_="bar")
