"""The counts of a round of normalise, as metrics."""

from processors.normalising import metrics
from processors.normalising.round_counts import Tallies
from processors.runtime.metrics import dead_letters
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outgoing
from schemas.codec import encode
from schemas.records import record_keys
from tests.unit.metric_values import value
from tests.unit.webhooks import result_of

ITEM = {"message_id": "m", "gateway": "sms", "result": "sent"}
RAW = RawRecord("n.raw.smsmanager", 0, 0, 0, (), b"")


def totals(provider: str) -> tuple[float, float, float, float]:
    """Return the items, observations, dead letters and ignored items of a provider."""
    families = (metrics.items, metrics.observations, dead_letters, metrics.ignored)
    items, *kinds = (
        sum(
            sample.value
            for family in one.collect()
            for sample in family.samples
            if sample.labels["provider"] == provider
        )
        for one in families
    )
    return (items, *kinds)  # type: ignore[return-value]


def counted(provider: str, tallies: Tallies) -> tuple[float, ...]:
    before = totals(provider)
    tallies.publish()
    return tuple(now - was for now, was in zip(totals(provider), before, strict=True))


def test_unread_fields_are_counted_by_provider_and_field() -> None:
    """Each observation without the field counts, after the round is published."""
    item = {**ITEM, "sms": {"count": "2"}}
    count = {"provider": "smsmanager", "field": "sms.count"}
    before = value(metrics.unread, **count)
    tallies = Tallies()
    tallies.count("smsmanager", result_of("smsmanager", [item, item]))
    assert value(metrics.unread, **count) == before
    tallies.publish()
    assert value(metrics.unread, **count) == before + 2


def test_a_test_is_counted() -> None:
    """The empty body is an event `test`."""
    test = {"provider": "whapi", "event": "test"}
    before = value(metrics.ignored, **test)
    tallies = Tallies()
    tallies.count("whapi", result_of("whapi", {}))
    tallies.publish()
    assert value(metrics.ignored, **test) == before + 1


def test_each_item_is_an_observation_a_dead_letter_or_ignored() -> None:
    """The sums hold for good and bad items, a bad body, and too many bad items."""
    tallies = Tallies()
    tallies.count("smsmanager", result_of("smsmanager", [ITEM, {}, ITEM, {"gateway": "sms"}]))
    tallies.count("smsmanager", result_of("smsmanager", [{}] * 150))
    tallies.count("smsmanager", result_of("smsmanager", {}))
    items, observations, letters, ignored = counted("smsmanager", tallies)
    assert (observations, letters, ignored) == (2, 2 + 101, 1)
    assert items == observations + letters + ignored


def test_observations_that_are_too_large_for_the_topic_are_one_item() -> None:
    """They are not published: one dead letter takes the place of both."""
    result = result_of("smsmanager", [{**ITEM, "message_id": name} for name in "abc"])
    tallies = Tallies()
    tallies.count("smsmanager", result)
    large = [
        Outgoing("n.observations", 0, key.encode(), encode(one), 0, (), RAW)
        for one in result.observations[:2]
        for key in record_keys(one)
    ]
    for number, record in enumerate(large):
        tallies.count_large("smsmanager", record, first=number == 0)
    assert counted("smsmanager", tallies) == (2, 1, 1, 0)
