"""Scales of charts: round numbers for an axis, and points of a series. Pure."""

import math
from collections.abc import Sequence
from itertools import groupby

from console.charts.svg import Box

Values = Sequence[float | None]

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def top_of(values: Values) -> float:
    """Return a round number that no value exceeds; 1 if there is none above 0."""
    most = max((value for value in values if value is not None), default=0.0)
    if not math.isfinite(most) or most <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next((step * unit for step in _ROUND if step * unit >= most), most)


def runs(values: Values, box: Box, top: float) -> list[list[tuple[float, float]]]:
    """Return the points of a series, in runs without a missing value."""
    step = box.width / max(1, len(values) - 1)
    points = [
        None if value is None else (box.left + place * step, _height(value, box, top))
        for place, value in enumerate(values)
    ]
    whole = groupby(points, lambda point: point is None)
    return [[one for one in run if one is not None] for missing, run in whole if not missing]


def _height(value: float, box: Box, top: float) -> float:
    return box.bottom - box.height * min(1.0, max(0.0, value / top))
