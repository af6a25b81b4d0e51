"""What stays: each topic with the time from its configuration, and what is outside of Kafka."""

import pytest

from cli.forget.remains import elsewhere, of_topics
from providers import NAMES
from schemas.topics import Topics

TOPICS = Topics("ns", providers=NAMES)
CONFIGS = {spec.name: spec.config for spec in TOPICS.specs(1)}
DAY = 24 * 3_600_000
NOW = 1_764_331_200_000


def test_every_topic_with_records_is_named() -> None:
    """The clocks hold no records of messages."""
    found = of_topics(TOPICS, CONFIGS, NOW)
    assert [one.where for one in found] == [*TOPICS.required]
    assert all(one.holds for one in found)
    by_name = {one.where: one.until for one in found}
    assert by_name["ns.observations"] == NOW + 7 * DAY
    assert by_name["ns.dead-letters"] == NOW + 90 * DAY
    assert by_name["ns.messages"] == NOW + 46 * DAY


@pytest.mark.parametrize(
    ("config", "until"),
    [
        ({"cleanup.policy": "delete", "retention.ms": "1000"}, NOW + 1000),
        ({"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "5"}, NOW + 1005),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, None),
        ({"cleanup.policy": "compact", "retention.ms": "1000"}, None),
        ({}, None),
    ],
)
def test_until_when(config: dict[str, str], until: int | None) -> None:
    """None: nothing deletes it by age."""
    [one] = of_topics(TOPICS, {TOPICS.statuses: config}, NOW)
    assert (one.until, one.fields()["until"] is None) == (until, until is None)


def test_what_is_outside_of_kafka() -> None:
    """The spool and the archive if they are known, else that they may exist."""
    unknown = [one.where for one in elsewhere(None, None, None)]
    console = ["the console's database", "the console's audit log"]
    assert unknown == ["the spools of ingest, on its machines", "archives", *console, "consumers"]
    spool, *files, _, _, _ = elsewhere("spool", 3, ["a.parquet", "b.parquet"])
    assert spool.holds.startswith("3 bodies that Kafka did not accept")
    assert [one.where for one in files] == ["a.parquet", "b.parquet"]
    assert elsewhere("spool", None, [])[0].holds == "not readable here"
