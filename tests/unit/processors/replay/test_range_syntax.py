"""The typed arguments of a replay: times, offsets, statuses, keys and codes."""

import pytest

from processors.replay.range_syntax import Only, offsets_of, only_of, time_of
from service.errors import Problem

NOW = 1_790_000_000_000
MINUTE = 60_000
DAY = 24 * 60 * MINUTE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-30s", NOW - 30_000),
        ("-30m", NOW - 30 * MINUTE),
        ("-2h", NOW - 120 * MINUTE),
        ("-7d", NOW - 7 * DAY),
        ("-2w", NOW - 14 * DAY),
        ("-999999w", 0),
        ("1970-01-02", DAY),
        ("1970-01-01T00:00Z", 0),
        ("1970-01-01T01:00:00.250+00:30", 30 * MINUTE + 250),
        ("1970-01-01 01:00-01:00", 120 * MINUTE),
    ],
)
def test_times(text: str, expected: int) -> None:
    """A time with its zone, a date (which begins in UTC), an age, or now."""
    assert time_of(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-05-01T12:00", "has no zone; add one"),
        ("yesterday", "is not a time"),
        ("", "is not a time"),
        ("2h", "is not a time"),
        ("-2y", "is not a time"),
        ("2026-13-01", "is not a time"),
        ("1969-12-31", "is not a time"),
        ("0001-01-01T00:00+23:59", "is not a time"),
    ],
)
def test_what_is_no_time(text: str, said: str) -> None:
    """Anything else is refused; a zone is never assumed."""
    with pytest.raises(Problem, match=said):
        time_of(text, NOW)


def test_offsets() -> None:
    """By partition, from the first to before the end."""
    assert offsets_of(["0:100-200", "2:0-1"]) == {0: (100, 200), 2: (0, 1)}


@pytest.mark.parametrize(
    "texts", [["0"], ["0:1"], ["0:1-"], ["a:1-2"], ["0:-1-2"], ["0:1-2", "0:3-4"], [""]]
)
def test_what_is_no_range_of_offsets(texts: list[str]) -> None:
    """Half a range is no range, and one partition has one."""
    with pytest.raises(Problem, match=r"is not a range of offsets|is named twice"):
        offsets_of(texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delivered", Only("status", "delivered")),
        ("unknown", Only("status", "unknown")),
        ("unknown_provider", Only("code", "unknown_provider")),
        ("missing_field", Only("code", "missing_field")),
        ("smsmanager/-/m1", Only("key", "smsmanager/-/m1")),
        ("whapi/C/a/b", Only("key", "whapi/C/a/b")),
    ],
)
def test_only(text: str, expected: Only) -> None:
    """The form of the text decides what it is."""
    assert only_of(text) == expected


@pytest.mark.parametrize("text", ["", "seen", "Delivered", "a/b", "internal error"])
def test_an_unknown_selection_is_refused(text: str) -> None:
    """A provider's own status is not a canonical one; the sentence lists the valid ones."""
    with pytest.raises(Problem, match="is neither a status"):
        only_of(text)
