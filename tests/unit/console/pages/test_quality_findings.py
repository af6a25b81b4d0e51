"""The sentences above the comparison of delivery quality."""

from dataclasses import fields

import pytest

from console.pages.quality import asked_of, findings_of
from console.read_model.results import Percentiles, QualityRow


def _row(name: str, p95: int | None, delivered: int) -> QualityRow:
    numbers = {one.name: 0 for one in fields(QualityRow)}
    times = None if p95 is None else Percentiles(10, p95 // 2, p95, p95)
    given = {"by": {"provider": name}, "at": None, "failures": {}, "costs": {}, "to_read": None}
    counts = {"messages": 10, "messages_delivered": delivered, "delivered_share": delivered / 10}
    return QualityRow(**{**numbers, **given, **counts, "to_delivered": times})  # type: ignore[arg-type]


SLOW, FAST = _row("slow", 8000, 8), _row("fast", 2000, 9)


@pytest.mark.parametrize(
    ("rows", "begins"),
    [
        ([SLOW, FAST], ["Slowest: slow, 95 % ", "Fastest: fast, 95 % ", "Least delivered: slow, "]),
        ([_row("slow", 8000, 9), FAST], ["Slowest: slow", "Fastest: fast"]),
        ([SLOW], []),
        ([SLOW, _row("", 9000, 1)], []),
        ([SLOW, _row("untimed", None, 1)], []),
    ],
    ids=["two", "equal shares", "one alone", "one without a name", "one without times"],
)
def test_only_rows_that_can_be_compared_are_named(
    rows: list[QualityRow], begins: list[str]
) -> None:
    found = findings_of(rows, asked_of({}, 0))
    assert len(found) == len(begins)
    assert all(one.startswith(begin) for one, begin in zip(found, begins, strict=True))
