"""Times as text: the cached minute gives what the standard library gives."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from schemas.webhook import to_iso
from tests.examples import examples

LAST = 253_402_300_799_000


@examples(10)
@given(st.integers(-(2**62), 2**62) | st.integers(0, LAST) | st.integers(LAST - 99, LAST + 99))
def test_a_time_is_written_as_in_rfc_3339(time: int) -> None:
    """Any number of milliseconds, within the years 1970 to 9999."""
    seconds, ms = divmod(max(0, min(time, LAST)), 1000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=ms * 1000)

    written = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    assert to_iso(time) == written
