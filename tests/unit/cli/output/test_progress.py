"""Progress on a terminal and where there is none."""

import io
import re

import pytest
from rich.console import Console

from cli.output import progress


def drawn(*, terminal: bool, done: tuple[int, ...], width: int = 200) -> str:
    """Return the output while a count takes some values."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width, highlight=False)
    with progress.shown(console) as shown:
        count = shown.count("bodies", 2000)
        for number in done:
            count.show(number, 2000, "of a test")
        shown.say("a line [in brackets]")
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", written.getvalue())


def test_a_terminal_has_bars_that_end_where_the_count_does() -> None:
    """Numbers that were not drawn in between are drawn at the end."""
    text = drawn(terminal=True, done=(1, 2, 1234))
    assert "a line [in brackets]" in text
    last = [line for line in re.split(r"[\r\n]+", text) if "bodies" in line][-1]
    assert "━" in last
    assert "1,234 of 2,000" in last
    assert "of a test" in last


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_no_number_is_cut_on_a_narrow_terminal(width: int) -> None:
    """The bar is shorter, and there is no remaining time below 100 columns."""
    text = drawn(terminal=True, done=(2000,), width=width)
    last = text.rpartition("bodies")[2]
    assert "2,000 of 2,000" in last
    assert "of a test" in last
    assert "…" not in text
    assert ("0:00:0" in last) == (width >= 100)


def test_elsewhere_there_are_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there is no bar, and a line only after some seconds."""
    assert drawn(terminal=False, done=(1, 2)) == "a line [in brackets]\n"
    monkeypatch.setattr(progress, "_LINE_SECONDS", -1)
    text = drawn(terminal=False, done=(1, 1234))
    assert text.splitlines() == [
        "bodies: 1 of 2,000 of a test",
        "bodies: 1,234 of 2,000 of a test",
        "a line [in brackets]",
        "bodies: 1,234 of 2,000 of a test",
    ]


def test_a_count_knows_its_rate_and_how_to_write_its_numbers() -> None:
    """Numbers without a total are not shown; those with one in the form wanted."""
    with progress.shown(Console(file=io.StringIO())) as shown:
        count = shown.count("verifying", form="{} bytes".format)
        assert count.line() == "verifying:"
        count.expect(10)
        count.advance(4)
        assert count.line() == "verifying: 4 bytes of 10 bytes"
        assert count.rate(5) > 0
