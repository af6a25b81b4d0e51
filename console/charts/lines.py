"""A line chart over time, and a sparkline. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from console.charts.scale import Values, runs, top_of
from console.charts.svg import Box, clock, drawing, element, path, words

_WIDTH, _HEIGHT = 480, 150
_PLOT = Box(44, 12, 428, 108)
_SPARK_WIDTH, _SPARK_HEIGHT = 120, 24
_SPARK = Box(2, 3, 112, 18)
_TICKS = 4


class Series(NamedTuple):
    """One line: its name and a value per time, None where nothing is known."""

    name: str
    values: Values


def line_chart(
    label: str, times: Sequence[int], series: Sequence[Series], form: Callable[[float], str]
) -> Markup:
    """Return a chart of some series by time (Unix ms); `form` writes a value of the axis."""
    top = top_of([value for one in series for value in one.values])
    rows = [element("g", *_grid(share, form(top * share))) for share in (0.0, 0.5, 1.0)]
    lines = [
        path(points, f"line s{place}") if len(points) > 1 else _dot(points[0], f"dot s{place}")
        for place, one in enumerate(series)
        for points in runs(one.values, _PLOT, top)
    ]
    return drawing(_WIDTH, _HEIGHT, label, *rows, *_ticks(times), *lines, class_="lines")


def sparkline(label: str, values: Values) -> Markup:
    """Return a small line without axes; its last known value has a dot."""
    found = runs(values, _SPARK, top_of(values))
    lines = [path(points, "line s0") for points in found if len(points) > 1]
    end = [_dot(found[-1][-1], "dot s0")] if found else []
    return drawing(_SPARK_WIDTH, _SPARK_HEIGHT, label, *lines, *end, class_="spark")


def _grid(share: float, text: str) -> tuple[Markup, Markup]:
    height = _PLOT.bottom - share * _PLOT.height
    return (
        element("line", x1=_PLOT.left, x2=_PLOT.right, y1=height, y2=height, class_="grid"),
        words(_PLOT.left - 6, height + 4, text, "axis end"),
    )


def _ticks(times: Sequence[int]) -> list[Markup]:
    """Return a few times below the chart."""
    if not times:
        return []
    last = len(times) - 1
    places = sorted({round(last * tick / _TICKS) for tick in range(_TICKS + 1)})
    step = _PLOT.width / max(1, last)
    marks = {0: "axis", last: "axis end"}
    return [
        clock(
            _PLOT.left + one * step, _HEIGHT - 6, times[one], "minute", marks.get(one, "axis mid")
        )
        for one in places
    ]


def _dot(point: tuple[float, float], class_: str) -> Markup:
    return element("circle", cx=point[0], cy=point[1], r=2.5, class_=class_)
