"""Charts: their markup is well formed and escaped for any values, and shows them."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from console.charts.bars import Part, share_bar
from console.charts.heat_map import Cell, Row, heat_map, step_of
from console.charts.lines import Series, line_chart, sparkline
from console.charts.scale import runs, top_of
from console.charts.svg import Box, element
from console.charts.timeline import Mark, Span, timeline
from console.charts.timeline import Row as Attempt

HOSTILE = "</svg><script>alert(1)</script>\"'&"
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=30)
VALUES = st.lists(st.none() | st.floats(0, 1e12), max_size=40)
TIMES = st.integers(0, 4_102_444_800_000)


def parsed(drawn: Markup) -> ET.Element:
    """Parse a drawing as XML; no element has an inline style or script."""
    root = ET.fromstring(drawn)
    for one in root.iter():
        assert one.tag != "script"
        assert not {"style", "onload", "onclick"} & one.attrib.keys()
    return root


def texts(root: ET.Element, class_: str) -> list[str]:
    return [one.text or "" for one in root.iter("text") if class_ in one.attrib["class"].split()]


def test_a_child_that_is_no_markup_is_text() -> None:
    """What a sender wrote stays text, also in an attribute."""
    drawn = element("text", HOSTILE, class_=HOSTILE)
    root = parsed(drawn)
    assert root.text == HOSTILE
    assert root.attrib["class"] == HOSTILE


@given(NAMES, VALUES)
def test_a_sparkline_of_any_values(name: str, values: list[float | None]) -> None:
    """Each run without a missing value is a line; the last value has a dot."""
    root = parsed(sparkline(name, values))
    assert root.attrib["aria-label"] == name
    dots = list(root.iter("circle"))
    assert len(dots) == any(value is not None for value in values)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.lists(TIMES, max_size=60))
def test_a_line_chart_of_any_values(
    series: list[tuple[str, list[float | None]]], times: list[int]
) -> None:
    parsed(line_chart("chart", sorted(times), [Series(*one) for one in series], str))


def test_a_line_chart_has_its_axes() -> None:
    """The axis ends at a round number; the times carry their Unix ms for the script."""
    root = parsed(line_chart("Facts", [0, 60_000], [Series("a", [1, 37])], lambda v: f"{v:g}"))
    assert texts(root, "end")[:3] == ["0", "25", "50"]
    assert [one.attrib["data-at"] for one in root.iter("text") if "data-at" in one.attrib] == [
        "0",
        "60000",
    ]


@pytest.mark.parametrize(
    ("values", "top"),
    [([], 1), ([None], 1), ([0], 1), ([3], 5), ([37], 50), ([100], 100), ([2400], 2500)],
)
def test_the_top_of_a_scale(values: list[float | None], top: float) -> None:
    assert top_of(values) == top


def test_a_missing_value_interrupts_a_line() -> None:
    found = runs([1.0, None, 1.0, 0.0], Box(0, 0, 30, 10), 1.0)
    assert found == [[(0, 0)], [(20, 0), (30, 10)]]


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**9)), max_size=5))
def test_a_bar_of_any_counts(parts: list[tuple[str, int]]) -> None:
    """The parts together are as wide as the bar."""
    root = parsed(share_bar("bar", [Part(name, number, "good") for name, number in parts]))
    widths = [float(one.attrib["width"]) for one in root.iter("rect")][1:]
    expected = 120.0 if any(number for _, number in parts) else 0.0
    assert sum(widths) == pytest.approx(expected, abs=0.3)


@given(NAMES, st.lists(st.none() | st.floats(0, 1), min_size=24, max_size=24))
def test_a_heat_map_of_any_values(name: str, levels: list[float | None]) -> None:
    """Each hour is a cell, and one with data leads to its messages."""
    cells = [Cell(one, HOSTILE, None if one is None else "/messages?a=1&b=2") for one in levels]
    root = parsed(heat_map("map", [hour * 3_600_000 for hour in range(24)], [Row(name, cells)]))
    assert len(list(root.iter("rect"))) == 24
    assert len(list(root.iter("a"))) == sum(one is not None for one in levels)


@pytest.mark.parametrize(
    ("level", "step"), [(0, 0), (0.19, 0), (0.2, 1), (0.99, 4), (1, 4), (7, 4)]
)
def test_the_colour_of_a_level(level: float, step: int) -> None:
    assert step_of(level) == step


MARKS = st.builds(
    Mark,
    at=TIMES,
    text=NAMES,
    note=NAMES,
    kind=st.sampled_from(["progress", "good", "bad", "aside", "alarm", "reply"]),
    shape=st.sampled_from(["plain", "late", "contradiction", "recovered", "aside"]),
    href=NAMES,
)
ROWS = st.builds(Attempt, name=NAMES, note=NAMES, marks=st.lists(MARKS, max_size=6))
SPANS = st.builds(Span, begin=TIMES, end=st.none() | TIMES, text=NAMES)


@given(st.lists(ROWS, max_size=4), st.lists(SPANS, max_size=2))
def test_a_timeline_of_any_facts(rows: list[Attempt], stalls: list[Span]) -> None:
    """Each fact is one link, and no two facts of a row are in one place."""
    root = parsed(timeline("line", rows, stalls, str))
    links = list(root.iter("a"))
    assert len(links) == sum(len(row.marks) for row in rows)
    for group in root.iter("g"):
        places = [
            one.attrib["x"] for one in group.iter("text") if one.attrib["class"] == "mid mark"
        ]
        assert len(places) == len(set(places))


def test_a_timeline_shows_order_gaps_and_stalls() -> None:
    """Facts are in order of time; the time between two columns is written above them."""
    marks = [
        Mark(5000, "delivered", "", "good", "plain", "#b"),
        Mark(0, "sent", "", "progress", "plain", "#a"),
        Mark(5000, "failed", "late", "bad", "contradiction", "#c"),
    ]
    drawn = timeline(
        "line", [Attempt("sms", "", marks)], [Span(0, None, "stalled")], lambda ms: f"{ms} ms"
    )
    root = parsed(drawn)
    assert texts(root, "mark") == ["sent", "delivered", "failed"]
    assert texts(root, "gap") == ["+5000 ms"]
    assert [one.attrib["class"] for one in root.iter("polygon")] == ["mark bad contradiction"]
    stalled: list[Any] = [one for one in root.iter("rect") if one.attrib["class"] == "stall"]
    assert len(stalled) == 1
