"""A heat map: a row for each name, a column for each hour. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.charts.svg import clock, drawing, element, words

STEPS = 5
_LABEL, _CELL, _ROW, _HEAD = 150, 27, 24, 20
_LONGEST = 22


class Cell(NamedTuple):
    """One cell: `level` from 0 to 1 (None: no data), what it says, and where it leads."""

    level: float | None
    title: str
    href: str | None = None


class Row(NamedTuple):
    """One row of cells, one for each hour."""

    name: str
    cells: Sequence[Cell]


def heat_map(label: str, hours: Sequence[int], rows: Sequence[Row]) -> Markup:
    """Return the map; `hours` are the begins of the columns, Unix ms."""
    width = _LABEL + _CELL * len(hours)
    heads = [
        clock(_LABEL + _CELL * (place + 0.5), 13, hour, "hour", "axis mid")
        for place, hour in enumerate(hours)
        if place % 3 == 0
    ]
    body = [_row(place, row) for place, row in enumerate(rows)]
    height = _HEAD + _ROW * len(rows) + 2
    # Its cells are links.
    return drawing(width, height, label, *heads, *body, class_="heat", links=True)


def step_of(level: float) -> int:
    """Return the class of a level: 0 to STEPS - 1."""
    return min(STEPS - 1, max(0, int(level * STEPS)))


def _row(place: int, row: Row) -> Markup:
    top = _HEAD + _ROW * place
    name = row.name if len(row.name) <= _LONGEST else f"{row.name[: _LONGEST - 1]}…"
    cells = [_cell(_LABEL + _CELL * hour, top, row.name, one) for hour, one in enumerate(row.cells)]
    return element("g", words(0, top + 16, name, "name"), *cells)


def _cell(left: float, top: float, name: str, cell: Cell) -> Markup:
    class_ = "none" if cell.level is None else f"h{step_of(cell.level)}"
    text = f"{name}: {cell.title}"
    shape = {"x": left + 1, "y": top + 1, "width": _CELL - 2, "height": _ROW - 2, "rx": 3}
    drawn = element("rect", element("title", text), class_=class_, **shape)
    return drawn if cell.href is None else element("a", drawn, href=cell.href, aria_label=text)
