"""The sentences above the comparison of delivery quality."""

from dataclasses import fields

import pytest

from console.pages.quality import asked_of, findings_of, sample_of
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


def test_a_finding_says_of_how_many() -> None:
    slowest, _, least = findings_of([SLOW, FAST], asked_of({}, 0))
    assert slowest == "Slowest: slow, 95 % of 10 deliveries within 8.0 s, half within 4.0 s."
    assert least == "Least delivered: slow, 80.0 % of 10 messages."


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "today (UTC) (since 02 Jan 1970 00:00 UTC): 20 messages"),
        ({"from": "-1h"}, "last hour (since 02 Jan 1970 04:00 UTC): 20 messages"),
        (
            {"from": "1970-01-02T01:30Z/1970-01-02T02:30Z"},
            "02 Jan 1970 01:00 to 03:00 UTC: 20 messages",
        ),
        ({"from": "oldest", "by": "gateway"}, "any time: 0 attempts"),
    ],
)
def test_the_figures_have_a_period_and_a_sample(query: dict[str, str], words: str) -> None:
    """Whole hours are added up."""
    now = 29 * 3_600_000 + 90_000
    assert sample_of([SLOW, FAST], asked_of(query, now)) == words
