"""A row and a cell of delivery quality lead to the messages that they count."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.datastructures import QueryParams

from console.pages.messages import filter_of
from console.pages.quality import asked_of, failed_address, messages_address
from console.read_model.results import MessageFilter
from processors.tracking.lifecycle.statuses import FAILURES
from schemas.webhook import to_iso

HOUR = 3_600_000
NOW = 480_000 * HOUR + 42 * 60_000
BEGIN = NOW - NOW % HOUR - 24 * HOUR


def _led_to(query: dict[str, str], hour: int | None = None) -> MessageFilter:
    address = messages_address(asked_of(query, NOW), "viber", hour)
    assert address
    path, given = urlsplit(address).path, QueryParams(parse_qsl(urlsplit(address).query))
    assert path == "/messages"
    return filter_of(given, NOW).filter


def test_a_cell_leads_to_the_messages_of_its_hour_by_event_time() -> None:
    """Messages whose webhooks came late are among them."""
    found = _led_to({"by": "gateway", "country": "SK"}, BEGIN)
    assert found == MessageFilter(
        gateway="viber", country="SK", time="event", since=BEGIN, until=BEGIN + HOUR
    )


@pytest.mark.parametrize(
    ("period", "since", "until"),
    [
        ({"from": "-24h"}, BEGIN, None),
        ({"from": to_iso(BEGIN + 1), "to": to_iso(BEGIN + HOUR + 1)}, BEGIN, BEGIN + 2 * HOUR),
        ({"from": to_iso(BEGIN), "to": to_iso(BEGIN + HOUR)}, BEGIN, BEGIN + HOUR),
    ],
    ids=["up to now", "parts of hours", "whole hours"],
)
def test_a_row_leads_to_the_whole_hours_that_it_adds_up(
    period: dict[str, str], since: int, until: int | None
) -> None:
    found = _led_to({"by": "gateway", **period})
    assert found == MessageFilter(gateway="viber", time="event", since=since, until=until)


def test_the_failed_messages_of_a_row_have_any_of_the_failed_statuses() -> None:
    """Of a gateway they cannot be found by the message's status: another attempt gave it."""
    address = failed_address(asked_of({"from": to_iso(BEGIN)}, NOW), "whapi") or ""
    found = filter_of(QueryParams(parse_qsl(urlsplit(address).query)), NOW).filter
    assert {*found.statuses} == {*FAILURES}
    assert (found.provider, found.time, found.since) == ("whapi", "event", BEGIN)
    assert failed_address(asked_of({"by": "gateway"}, NOW), "viber") is None


def test_what_messages_cannot_be_searched_by_is_no_link() -> None:
    assert messages_address(asked_of({"by": "operator"}, NOW), "231-01") is None
    assert messages_address(asked_of({"by": "country"}, NOW), "") is None


@pytest.mark.parametrize(
    ("query", "attempts"),
    [({}, False), ({"by": "gateway"}, True), ({"by": "channel"}, True), ({"gateway": "sms"}, True)],
)
def test_the_attempts_of_a_gateway_are_counted(query: dict[str, str], *, attempts: bool) -> None:
    """Its messages are found by any attempt, so its figures are of attempts."""
    assert asked_of(query, NOW).counts_attempts == attempts
