"""A raw record, read back from its headers."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.webhook import from_record, to_headers, to_iso
from tests.unit.webhooks import webhook

RECORD_TIME = 7


def received_at(text: str) -> int:
    headers = [("ce_time", text.encode("utf-8", "replace"))]
    return from_record("whapi", b"{}", headers, RECORD_TIME).received_at


def parsed(text: str) -> int:
    """What the standard library makes of a text, within the years that a record may name."""
    try:
        moment = datetime.fromisoformat(text)
        time = round(moment.timestamp() * 1000) if moment.tzinfo else -1
    except (ValueError, OverflowError):
        time = -1
    return time if 0 < time <= 253_402_300_799_000 else RECORD_TIME


@given(st.integers(1, 4_102_444_800_000))
def test_times_are_read_as_they_are_written(time: int) -> None:
    """To the millisecond, until the year 2100."""
    assert received_at(to_iso(time)) == time


@given(
    st.integers(-(10**11), 2 * 253_402_300_799_000),
    st.integers(0, 23),
    st.sampled_from([*"0123456789.:-TZ+ W", "٣", ""]),
)
def test_other_times_are_read_by_the_standard_library(time: int, at: int, put: str) -> None:
    """A text that differs in one place is read as that, or not at all."""
    text = to_iso(time)
    text = text[:at] + put + text[at + 1 :]
    assert received_at(text) == parsed(text)


@pytest.mark.parametrize(
    "text", ["", "2026-01-01T00:00:00.000", "2026-W01-1T00:00:0.000Z", "9999-12-31T23:59:59.999Z"]
)
def test_a_time_that_cannot_be_read_is_that_of_the_record(text: str) -> None:
    """Bodies may be written by hand."""
    assert received_at(text) == RECORD_TIME


def test_null_headers_count_as_absent() -> None:
    """Of two headers of one name the last one with a value counts."""
    sent = webhook("whapi", b"{}", method="PUT", path="/a?b=ü", headers={"x-request-id": "r"})
    headers = [*to_headers(sent), ("ce_id", None), ("http-path", None), ("user-agent", None)]
    assert from_record("whapi", b"{}", headers, RECORD_TIME) == sent
