"""Tables that commands print: columns, or on a narrow console each row as lines. Pure.

A number and a name are never cut or wrapped; texts are wrapped.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

# A column of texts is at least so wide, unless all of its texts are shorter.
_NARROWEST_TEXT = 24
_BETWEEN_COLUMNS = 2
_INDENT = "  "


class Column(NamedTuple):
    """A column; its kind says how its cells are aligned, and whether they may be wrapped."""

    heading: str
    kind: Literal["name", "number", "text"]


def name(heading: str) -> Column:
    """Return a column of names, which are never wrapped."""
    return Column(heading, "name")


def number(heading: str) -> Column:
    """Return a column of numbers, aligned at the right and never wrapped."""
    return Column(heading, "number")


def text(heading: str) -> Column:
    """Return a column of texts, which are wrapped if need be."""
    return Column(heading, "text")


class PlainTable:
    """A table without a frame; a renderable of rich. Without rows it is only its headings."""

    def __init__(self, title: str, *columns: Column) -> None:
        self._title = title
        self._columns = columns
        self._rows: list[tuple[list[Text], str]] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row; a string has no markup."""
        self._rows.append(([Text(c) if isinstance(c, str) else c for c in cells], style))

    @property
    def width(self) -> int:
        """The number of characters that its columns need side by side."""
        between = _BETWEEN_COLUMNS * (len(self._columns) - 1)
        return sum(self._widths()) + between

    def _widths(self) -> Iterator[int]:
        for place, column in enumerate(self._columns):
            cells = [Text(column.heading), *(cells[place] for cells, _ in self._rows)]
            widest = max(line.cell_len for cell in cells for line in cell.split("\n"))
            yield min(widest, _NARROWEST_TEXT) if column.kind == "text" else widest

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render as columns, or as lines where these do not fit."""
        if self.width <= options.max_width:
            yield self._side_by_side()
            return
        if self._title:
            yield Text(self._title, "bold")
        for cells, style in self._rows:
            for line in self._as_lines(cells, options.max_width):
                yield Text.assemble(line, style=style)

    def _side_by_side(self) -> Table:
        table = Table(
            title=self._title or None,
            title_justify="left",
            title_style="bold",
            header_style="dim",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
        )
        for heading, kind in self._columns:
            justify: Literal["left", "right"] = "right" if kind == "number" else "left"
            table.add_column(heading, justify=justify, no_wrap=kind != "text", overflow="fold")
        for cells, style in self._rows:
            table.add_row(*cells, style=style)
        return table

    def _as_lines(self, cells: Sequence[Text], width: int) -> Iterator[Text]:
        """Yield the names that a row begins with, then its other cells with their headings."""
        kinds = [one.kind for one in self._columns]
        begin = next((at for at, kind in enumerate(kinds) if at and kind != "name"), 1)
        yield Text("  ").join(one for one in map(_one_line, cells[:begin]) if one)
        items = [
            Text.assemble((column.heading, "dim"), " " if column.heading else "", _one_line(cell))
            for column, cell in zip(self._columns[begin:], cells[begin:], strict=True)
            if cell
        ]
        yield from _flowing(items, width)


def _one_line(cell: Text) -> Text:
    return Text(", ").join(cell.split("\n"))


def _flowing(items: Iterable[Text], width: int) -> Iterator[Text]:
    """Yield indented lines, each of as many items as fit; a longer item is a line of its own."""
    line = Text()
    for item in items:
        if line and len(_INDENT) + line.cell_len + _BETWEEN_COLUMNS + item.cell_len > width:
            yield Text(_INDENT) + line
            line = Text()
        line = line + Text("  ") + item if line else item
    if line:
        yield Text(_INDENT) + line
