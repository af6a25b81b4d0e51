"""Tables at several widths: nothing is cut, and numbers and names stay whole."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from cli.output.tables import PlainTable, name, number, text
from tests import HOME


def printed(table: PlainTable, width: int) -> list[str]:
    """The lines of a table on a console of that width."""
    written = io.StringIO()
    Console(file=written, width=width).print(table)
    return [line.rstrip() for line in written.getvalue().splitlines()]


def funnel() -> PlainTable:
    """The widest table of the demo."""
    numbers = map(number, ("tries", "sent", "delivered", "read", "failed", "other", "rate"))
    table = PlainTable("How far", name("provider"), name("gateway"), *numbers)
    table.add_row("smsmanager", "whatsapp_template", "12345", "158", "139", "21", "9", "0", "100%")
    return table


def test_a_wide_console_has_columns() -> None:
    """Headings, then a line for each row."""
    title, headings, rule, row = printed(funnel(), 100)
    assert title == "How far"
    assert headings.split() == [
        *("provider", "gateway", "tries", "sent", "delivered", "read", "failed", "other", "rate")
    ]
    assert set(rule) == {"─"}
    assert row == "smsmanager  whatsapp_template  12345   158        139    21       9      0  100%"


def test_a_narrow_console_has_lines() -> None:
    """The names of a row, then its numbers with their headings, as many on a line as fit."""
    assert printed(funnel(), 60) == [
        "How far",
        "smsmanager  whatsapp_template",
        "  tries 12345  sent 158  delivered 139  read 21  failed 9",
        "  other 0  rate 100%",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 81, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    """Each number and each name is on one line, whole; no cell ends in an ellipsis."""
    lines = printed(funnel(), width)
    assert "…" not in "".join(lines)
    for cell in ("12345", "158", "139", "100%"):
        assert any(cell in line for line in lines), cell
    assert max(map(len, lines)) <= width or width < len("smsmanager  whatsapp_template")


def test_its_own_width_is_enough() -> None:
    """A console as wide as the table says has columns, a narrower one has lines."""
    table = funnel()
    assert printed(table, table.width)[1].startswith("provider    gateway")
    assert printed(table, table.width - 1)[1] == "smsmanager  whatsapp_template"


def test_texts_are_wrapped_and_empty_cells_are_left_out() -> None:
    """A text takes what the other columns leave; in lines, a cell of two lines becomes one."""
    table = PlainTable("", name("code"), text("reason"), number("open"), name("first, last"))
    long = "the body is not JSON: see its character 21 and what follows"
    table.add_row(
        Text("p\nnot_json"), f"{long} [b]", "2", "2026-11-28 10:00:00\n2026-11-28 11:00:00"
    )
    table.add_row("x", "", "0", "")
    side_by_side = printed(table, 66)
    assert side_by_side[0].split() == ["code", "reason", "open", "first,", "last"]
    assert "[b]" in " ".join(side_by_side)
    assert printed(table, 50) == [
        "p, not_json",
        f"  reason {long}"[:50].rsplit(" ", 1)[0],
        "21 and what follows [b]",
        "  open 2",
        "  first, last 2026-11-28 10:00:00, 2026-11-28",
        "11:00:00",
        "x",
        "  open 0",
    ]


def test_a_style_covers_its_row() -> None:
    """Styles reach the terminal in both forms."""
    table = PlainTable("", name("status"), number("new"))
    table.add_row("sent", "3", style="bold")
    for width in (80, 9):
        written = io.StringIO()
        Console(file=written, width=width, force_terminal=True).print(table)
        assert "\x1b[1m" in written.getvalue()


def test_commands_have_no_other_tables() -> None:
    """A table of rich cuts numbers where it does not fit; progress uses its columns only."""
    users = [
        path.relative_to(HOME).as_posix()
        for path in sorted(HOME.glob("cli/**/*.py"))
        if "import Table" in path.read_text()
    ]
    assert users == ["cli/output/tables.py"]
