"""From a raw record to records of `observations`: the one way, live and replayed."""

from collections.abc import Iterable

from processors.normalise import normalise
from processors.providers.base import Coordinates, Normalised
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
