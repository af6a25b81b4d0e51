"""Rows of `bluetick quality`: which cells count, what they are added up to, what is printed."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.options import QualityOf
from cli.quality.figures import Query, Step, as_json, is_chosen, rows
from cli.quality.show import query_of
from cli.quality.table import table
from processors.quality.sketch import of_time
from schemas.quality import CELL_VERSION, LENGTH_MS, PERIODS, Period, QualityCell, start_of
from service.errors import Problem
from tests.unit.processors.quality.states import BEGAN

MINUTE, HOUR, DAY = LENGTH_MS.values()


def cell(period: Period, at: int, **fields: Any) -> QualityCell:
    defaults: dict[str, Any] = {
        "provider": "acme",
        "account": "-",
        "channel": "sms",
        "gateway": "sms",
        "messages": 1,
        "attempts": 1,
    }
    start = start_of(period, at)
    return QualityCell(version=CELL_VERSION, period=period, start_at=start, **defaults | fields)


@given(
    st.integers(0, 4 * 24 * 60),
    st.integers(1, 4 * 24 * 60),
    st.integers(0, 9 * 24 * 60),
    st.sampled_from(["hour", "day", "total"]),
)
def test_each_minute_of_a_range_counts_once(
    first: int, length: int, minute: int, per: Step
) -> None:
    """Of the minute, hour and day that hold a message, exactly one counts within the range."""
    since = BEGAN + first * MINUTE
    query = Query(since=since, until=since + length * MINUTE, per=per)
    at = BEGAN + minute * MINUTE
    chosen = [period for period in PERIODS if is_chosen(cell(period, at), query)]
    assert len(chosen) == (first <= minute < first + length)
    if per == "hour":
        assert "day" not in chosen


def test_a_range_without_end_takes_the_present_day() -> None:
    query = Query(since=BEGAN - 30 * DAY)
    found = [one for one in PERIODS if is_chosen(cell(one, BEGAN + MINUTE), query)]
    assert found == ["day"]


CELLS = [
    cell("hour", BEGAN, messages_delivered=1, delivered=1, cost={"EUR": "0.1"}),
    cell("hour", BEGAN, operator="231-01", to_delivered=of_time(4000), cost={"EUR": "0.2"}),
    cell("hour", BEGAN + HOUR, country="SK", without_receipts=1),
    cell("hour", BEGAN, provider="bolt", messages=4, messages_delivered=3, messages_failed=1),
]


def test_providers_are_side_by_side() -> None:
    """Sorted by the other dimensions first; a message without receipts is in no share."""
    query = Query(by=("provider", "country"), since=BEGAN, until=BEGAN + 2 * HOUR)
    found = rows(CELLS, query)
    assert [(one.group, one.total) for one in found] == [
        (("acme", "-"), 2),
        (("bolt", "-"), 4),
        (("acme", "SK"), 1),
    ]
    assert [one.delivered_share for one in found] == [0.5, 0.75, None]
    assert [one.failed_share for one in found] == [0, 0.25, 0]
    assert found[0].counts.cost == {"EUR": "0.3"}


def test_gateways_count_attempts() -> None:
    """A message may have attempts by several: the share is of those of the gateway."""
    query = Query(by=("gateway",), since=BEGAN, until=BEGAN + 2 * HOUR, per="hour")
    found = rows([cell("hour", BEGAN, attempts=4, delivered=2, failed=1, expired=1)], query)
    assert [(one.start_at, one.total) for one in found] == [(BEGAN, 4)]
    assert (found[0].delivered_share, found[0].failed_share) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        (
            Query(since=BEGAN, until=BEGAN + 2 * HOUR),
            [
                "provider messages delivered failed stalled p50 p95 cost",
                "acme 3 50.0 % 0.0 % 0 4.0 s 4.0 s 0.3 EUR",
                "bolt 4 75.0 % 25.0 % 0 - - -",
            ],
        ),
        (
            Query(("channel",), BEGAN, BEGAN + HOUR, "hour"),
            [
                "hour channel attempts delivered failed stalled p50 p95 cost",
                "2025-11-28 12:00 sms 3 33.3 % 0.0 % 0 4.0 s 4.0 s 0.3 EUR",
            ],
        ),
    ],
)
def test_the_table(query: Query, lines: list[str]) -> None:
    console = Console(width=120, file=io.StringIO())
    console.print(table(rows(CELLS, query), query))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    words = [" ".join(line.split()) for line in text.splitlines() if line.strip(" ─")]
    assert words == lines


def test_json_has_every_count() -> None:
    query = Query(since=BEGAN, until=BEGAN + 2 * HOUR)
    [acme, _] = as_json(rows(CELLS, query), query)["rows"]
    assert acme["provider"] == "acme"
    assert (acme["messages"], acme["read"], acme["delivered_share"]) == (3, 0, 0.5)
    assert acme["to_delivered"]["p50_ms"] == pytest.approx(4000, rel=0.01)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (QualityOf(by="provider,town"), "unknown_dimension"),
        (QualityOf(by=""), "unknown_dimension"),
        (QualityOf(since="yesterday"), "not_a_time"),
        (QualityOf(since="-1h", until="-2h"), "range_backwards"),
    ],
)
def test_what_is_not_understood_is_refused(wanted: QualityOf, code: str) -> None:
    with pytest.raises(Problem) as refused:
        query_of(wanted, BEGAN)
    assert refused.value.code == code


def test_options_become_a_query() -> None:
    """A range begins with the minute of its first time."""
    wanted = QualityOf(by="country, provider", since="-1h", per="day")
    assert query_of(wanted, BEGAN + 30_000) == Query(
        ["country", "provider"], BEGAN - HOUR, None, "day"
    )
    assert query_of(QualityOf(since="oldest"), BEGAN).since == 0
