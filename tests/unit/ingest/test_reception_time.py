"""The reception time of a webhook by Kafka's clock."""

import pytest
from msgspec.structs import replace

from ingest.reception_time import Reading, corrected, stamp
from schemas.webhook import OWN_TIME, RawWebhook, Uptime, from_record, to_headers

NOW = 1_800_000_000_000
HOUR = 3_600_000
READING = Reading(NOW, Uptime(10_000_000, "this"))
WEBHOOK = RawWebhook(
    id="1", source="whapi", provider="whapi", body=b"{}", received_at=NOW - 5 * HOUR, path="/x"
)


@pytest.mark.parametrize(
    ("received", "uptime", "expected"),
    [
        (NOW - HOUR, None, NOW - HOUR),  # by Kafka's clock already
        (NOW, None, NOW),
        (NOW + 500, None, NOW + 500),  # two readings of one clock
        (NOW + HOUR, None, NOW),  # by a clock that was ahead, of an earlier version
        (NOW + 2 * HOUR, Uptime(9_400_000, "this"), NOW - 600_000),
        (NOW - 2 * HOUR, Uptime(9_400_000, "this"), NOW - 600_000),
        (NOW - 600_000, Uptime(9_400_000, "this"), NOW - 600_000),
        (NOW - 2 * HOUR, Uptime(9_400_000, "another"), NOW - 2 * HOUR),
        (NOW + 2 * HOUR, Uptime(9_400_000, "another"), NOW),
        (NOW + 2 * HOUR, Uptime(9_400_000, ""), NOW),
    ],
)
def test_corrected(received: int, uptime: Uptime | None, expected: int) -> None:
    """The uptime gives the reception time; without it, the time is not later than now."""
    webhook = replace(WEBHOOK, received_at=received, uptime=uptime)
    found = corrected(webhook, READING)
    assert found.received_at == expected
    assert found.uptime is None
    assert found.own_time == (None if expected == received else received)


@pytest.mark.parametrize(
    ("received", "refusals", "expected"),
    [
        (NOW - HOUR, 1, NOW - HOUR),
        (NOW + HOUR, 1, NOW),
        (NOW - HOUR, 2, NOW),
        (NOW + HOUR, 2, NOW),
    ],
)
def test_stamp(received: int, refusals: int, expected: int) -> None:
    """A first refusal means a time in the future, a second one that it is too old."""
    assert stamp(received, NOW, refusals) == expected


def test_the_own_time_goes_into_a_header() -> None:
    """The webhook has Kafka's time; a header has the time of ingest's own clock."""
    webhook = replace(WEBHOOK, received_at=NOW, own_time=NOW + HOUR)
    headers = to_headers(webhook)
    assert (OWN_TIME, b"2027-01-15T09:00:00.000Z") in headers
    assert from_record("whapi", b"{}", headers, 0).received_at == NOW
    assert OWN_TIME not in dict(to_headers(WEBHOOK))
