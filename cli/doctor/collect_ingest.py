"""Collects the facts about webhooks: the health of ingest, and what has arrived on Kafka."""

import time
from collections.abc import Mapping

import msgspec
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from cli.doctor.facts import Ingest, Webhooks
from cli.simulator import http_client
from ingest.health import Spooled
from processors.runtime.consumer_groups import Watch, watching
from service.kafka import clients
from service.kafka.read_to_end import read_to_end
from service.settings import Settings
from service.wall_clock import now_ms

_HOUR_MS = 3_600_000
_LAST_ACCEPTED = "bluetick_ingest_last_accepted_timestamp_seconds"
_UNKNOWN_SOURCE = "-"


class _Health(msgspec.Struct, frozen=True):
    """The page `/health/ready` of ingest."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    spool: Spooled | None = None


async def ingest(settings: Settings) -> Ingest:
    """Return the health of the ingest on this machine, as its health address has it."""
    address = http_client.url(settings.health_host, settings.ingest_metrics_port)
    try:
        page = await http_client.get(address, "/health/ready")
        health = msgspec.json.decode(page.body, type=_Health)
        metrics = (await http_client.get(address, "/metrics")).body
        ages = _ages(metrics.decode(), time.time())
    except ValueError:
        return Ingest(address=address, why="another program answers there")
    except http_client.Broken as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        return Ingest(address=address, why=why)
    spool = health.spool
    return Ingest(
        address=address,
        problems=health.problems,
        warnings=health.warnings,
        fill=max(spool.size_share, spool.age_share) if spool else None,
        bodies=spool.bodies if spool else 0,
        sources=ages,
    )


def _ages(metrics: str, now: float) -> dict[str, float]:
    """Return, by source, the seconds since its last accepted webhook; without those with none."""
    samples = (
        sample
        for family in text_string_to_metric_families(metrics)
        if family.name == _LAST_ACCEPTED
        for sample in family.samples
    )
    return {
        one.labels["source"]: max(0.0, now - one.value)
        for one in samples
        if one.value > 0 and one.labels["source"] != _UNKNOWN_SOURCE
    }


async def webhooks(settings: Settings) -> list[Webhooks]:
    """Return when each provider's last webhook came, and how many are usual at this hour."""
    topics = {one: settings.topics.raw(one) for one in settings.topics.providers}
    last: dict[str, int] = {}
    for record in await last_records(settings, list(topics.values()), 1):
        last[record.topic] = max(last.get(record.topic, 0), record.timestamp)
    async with watching(settings, topics.values()) as watch:
        usual = await _day_before(watch, list(topics.values()))
    now = now_ms()
    return [
        Webhooks(
            provider=provider,
            age=max(0, now - last[topic]) / 1000 if topic in last else None,
            day_before=usual.get(topic, 0),
        )
        for provider, topic in topics.items()
    ]


async def _day_before(watch: Watch, topics: list[str]) -> Mapping[str, int]:
    """Return, by topic, how many records arrived in the hour that ended 24 hours ago."""
    ends = await watch.ends(topics)
    end = now_ms() - 24 * _HOUR_MS
    begins, nexts = [await watch.since(ends, at) for at in (end - _HOUR_MS, end)]
    found: dict[str, int] = {}
    for place, after in ends.items():
        count = nexts.get(place, after) - begins.get(place, after)
        found[place.topic] = found.get(place.topic, 0) + count
    return found


async def last_records(
    settings: Settings, topics: list[str], most: int
) -> list[ConsumerRecord[bytes, bytes]]:
    """Return the last records of each partition of some topics, at most `most` of one."""
    async with clients.reading(settings, topics) as reader:
        numbers = range(settings.partitions)
        places = [TopicPartition(topic, number) for topic in topics for number in numbers]
        begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        reader.assign(places)
        for place in places:
            reader.seek(place, max(begins[place], ends[place] - most))
        return [
            record
            async for read in read_to_end(reader, ends)
            for records in read.records.values()
            for record in records
        ]
