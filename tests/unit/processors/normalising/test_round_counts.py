"""The counts of a round of normalise, as metrics."""

from processors.normalising.round_counts import Tallies
from service.metrics.registry import exposed
from tests.unit.webhooks import result_of


_registry = exposed("normalise")


def value(name: str, **labels: str) -> float:
    return _registry.get_sample_value(name, labels) or 0.0


def test_unread_fields_are_counted_by_provider_and_field() -> None:
    """Each observation without the field counts, after the round is published."""
    item = {"message_id": "m", "gateway": "sms", "result": "sent", "sms": {"count": "2"}}
    count = {"provider": "smsmanager", "field": "sms.count"}
    before = value("bluetick_unread_fields_total", **count)
    tallies = Tallies()
    tallies.count("smsmanager", result_of("smsmanager", [item, item]))
    assert value("bluetick_unread_fields_total", **count) == before
    tallies.publish()
    assert value("bluetick_unread_fields_total", **count) == before + 2


def test_a_test_is_counted() -> None:
    """The empty body is an event `test`."""
    test = {"provider": "whapi", "event": "test"}
    before = value("bluetick_ignored_events_total", **test)
    tallies = Tallies()
    tallies.count("whapi", result_of("whapi", {}))
    tallies.publish()
    assert value("bluetick_ignored_events_total", **test) == before + 1
