"""The metrics of the processors, a closed list: each with its labels and meaning."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
)

from providers import NAMES
from schemas.coordinates import Partition
from service.kafka.causes import CAUSES, label

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()

webhooks = Counter("bluetick_webhooks", "raw bodies normalised", ["provider"], registry=registry)
observations = Counter(
    "bluetick_observations",
    "observations published, by what was observed: a status, or inbound",
    ["provider", "status"],
    registry=registry,
)
dead_letters = Counter(
    "bluetick_dead_letters", "bodies or items kept aside", ["provider", "code"], registry=registry
)
stopped = Gauge(
    "bluetick_dead_letter_stopped",
    "sources of a provider that are stopped, as too many of their bodies became dead letters",
    ["provider"],
    registry=registry,
)
for provider in NAMES:
    stopped.labels(provider).set(0)
unread = Counter(
    "bluetick_unread_fields",
    "fields that were left out, as they cannot be read, or left out or cut by a bound",
    ["provider", "field"],
    registry=registry,
)
foreign = Counter(
    "bluetick_foreign_account",
    "items that speak for an account that is not their source's",
    ["source"],
    registry=registry,
)
ignored = Counter(
    "bluetick_ignored_events",
    "events that carry no message status, left alone",
    ["provider", "event"],
    registry=registry,
)
outcomes = Counter(
    "bluetick_outcomes",
    "observations tracked, by verdict (duplicate and refined are not published)",
    ["provider", "outcome"],
    registry=registry,
)
events = Counter(
    "bluetick_events", "derived events published, by their name", ["event"], registry=registry
)
transactions = Counter(
    "bluetick_transactions",
    "transactions: committed, or failed (and then repeated)",
    ["outcome"],
    registry=registry,
)
restored = Counter("bluetick_restored_states", "states read back", registry=registry)
restoring = Gauge(
    "bluetick_restore_left_records",
    "records of the changelog still to be read before a partition is worked on again",
    ["partition"],
    registry=registry,
)
_stopped_partitions = Gauge(
    "bluetick_partition_stopped",
    "1 where a partition of the inputs cannot go on and is tried again each minute",
    ["topic", "partition"],
    registry=registry,
)
partitions = Gauge(
    "bluetick_partitions_assigned", "partitions the group assigned here", registry=registry
)
clock_offset = Gauge(
    "bluetick_clock_offset_seconds",
    "by how much this machine's clock is ahead of Kafka's; NaN while they are not compared",
    registry=registry,
)
kafka_failures = Counter(
    "bluetick_kafka_failures",
    "connections to Kafka that failed, and requests refused for lack of a right, by cause",
    ["cause"],
    registry=registry,
)
for cause in CAUSES:
    kafka_failures.labels(label(cause))


# Senders choose these words: labels must be bounded, and must not hold a phone number.
_MOST_EVENTS = 100
_OTHER = "other"
_events: set[str] = set()
# A source's name comes from a file, but a raw record written by hand may have any name.
_MOST_SOURCES = 1000
_sources: set[str] = set()


def event_label(event: str) -> str:
    """Return the event as a label; `other` if it has digits, or if there are too many events."""
    if any(character.isdigit() for character in event):
        return _OTHER
    if event not in _events:
        if len(_events) >= _MOST_EVENTS:
            return _OTHER
        _events.add(event)
    return event


def source_label(source: str) -> str:
    """Return the source's name as a label; `other` if there are too many names."""
    if source not in _sources:
        if len(_sources) >= _MOST_SOURCES:
            return _OTHER
        _sources.add(source)
    return source


def note_stopped(partition: Partition, *, stopped: bool) -> None:
    """Record whether a partition of the inputs is stopped."""
    topic, number = partition
    _stopped_partitions.labels(topic, str(number)).set(stopped)


def note_kafka_failure(cause: str) -> None:
    """Count a connection that failed, or a refusal, by the label of its cause."""
    kafka_failures.labels(cause).inc()


def add(counter: Counter, tally: Mapping[tuple[str, ...], int]) -> None:
    """Add the counts of a batch, by label values."""
    for labels, count in tally.items():
        counter.labels(*labels).inc(count)
