"""From a raw record to records of `observations` and `dead-letters`: the one way, live or not."""

from collections.abc import Iterable

from processors.normalise import normalise
from processors.providers.base import Coordinates, DeadLetter, Normalised
from processors.runtime.deadletters import headers
from processors.runtime.outbox import Outbox
from processors.runtime.spans import RawRecord
from schemas.codec import encode
from schemas.records import Observation, record_keys
from schemas.settings import Settings
from schemas.topics import Topics, partition_of
from schemas.webhook import from_record


def normalised(topics: Topics, record: RawRecord) -> Normalised:
    """What a raw record amounts to."""
    provider = topics.provider_of(record.topic)
    webhook = from_record(provider, record.body, record.headers, record.timestamp)
    return normalise(webhook, Coordinates(record.topic, record.partition, record.offset))


def add(
    outbox: Outbox, settings: Settings, observations: Iterable[Observation], timestamp: int
) -> None:
    """Put observations into the outbox, each under all of its keys."""
    topic = settings.topics.observations
    for observation in observations:
        value = encode(observation)
        for key in record_keys(observation):
            partition = partition_of(key, settings.partitions)
            outbox.add(topic, partition, key=key.encode(), value=value, timestamp=timestamp)


def add_dead_letters(
    outbox: Outbox,
    settings: Settings,
    record: RawRecord,
    letters: Iterable[DeadLetter],
    timestamp: int,
) -> None:
    """Put a raw record's dead letters into the outbox, on the partition of its number."""
    raw = Coordinates(record.topic, record.partition, record.offset)
    for letter in letters:
        outbox.add(
            settings.topics.dead_letters,
            record.partition,
            key=None,
            value=letter.value,
            timestamp=timestamp,
            headers=headers(letter, raw, record.timestamp, record.headers),
        )
