"""The options of a range become one value, or a problem with a code."""

import pytest

from cli.options import Range
from cli.replay.range_options import wanted
from processors.replay.range_syntax import Only
from service.errors import Problem


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (Range(), "no_range"),
        (Range(offsets=["0:1-2"]), "offsets_without_provider"),
        (Range("whapi", since="-1h", offsets=["0:1-2"]), "range_by_time_and_offsets"),
        (Range("whapi", until="now", offsets=["0:1-2"]), "range_by_time_and_offsets"),
        (Range("whapi", offsets=["0:1"]), "not_offsets"),
        (Range("whapi", offsets=["0:1-2", "0:3-4"]), "partition_twice"),
        (Range(since="-1h", until="-2h"), "range_backwards"),
        (Range(since="yesterday"), "not_a_time"),
        (Range(since="2026-05-01T12:00"), "time_without_zone"),
        (Range(since="oldest", provider="acme"), "unknown_provider"),
        (Range(since="oldest", only="nonsense"), "only_unknown"),
    ],
)
def test_what_cannot_be_a_range_has_a_code(typed: Range, code: str) -> None:
    """No request to a broker is needed."""
    with pytest.raises(Problem) as found:
        wanted(typed)
    assert found.value.code == code


def test_options_are_read_into_one_value() -> None:
    """Times, offsets and the selection are values, not texts."""
    by_time = wanted(Range(since="2026-05-01", until="2026-05-02", source="shop"))
    assert by_time.window == (1_777_593_600_000, 1_777_680_000_000)
    assert (len(by_time.providers) > 1, by_time.source, by_time.only) == (True, "shop", None)
    by_offset = wanted(Range("whapi", offsets=["3:1-2"], only="delivered", archive="/a"))
    assert (by_offset.providers, by_offset.offsets) == (("whapi",), {3: (1, 2)})
    assert (by_offset.only, by_offset.archive) == (Only("status", "delivered"), "/a")
