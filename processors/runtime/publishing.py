"""From a raw record to records of `observations`: the one way, live and replayed."""

from collections.abc import Iterable

from processors.normalise import normalise
from processors.providers.base import Coordinates, Normalised
from processors.runtime.outbox import Outbox
from processors.runtime.spans import RawRecord
from schemas.codec import encode
from schemas.records import Observation, record_keys
from schemas.settings import Settings
from schemas.topics import partition_of
from schemas.webhook import from_record


class Bodies:
    """What raw records amount to, and its way into an outbox."""

    def __init__(self, settings: Settings) -> None:
        topics = settings.topics
        self._providers = {topic: topics.provider_of(topic) for topic in topics.raw_topics}
        self._topic = topics.observations
        self._partitions = settings.partitions

    def provider(self, record: RawRecord) -> str:
        """Whose bodies the record's topic holds."""
        return self._providers[record.topic]

    def normalised(self, record: RawRecord) -> Normalised:
        """What a raw record amounts to."""
        provider = self._providers[record.topic]
        webhook = from_record(provider, record.body, record.headers, record.timestamp)
        return normalise(webhook, Coordinates(record.topic, record.partition, record.offset))

    def publish(self, outbox: Outbox, observations: Iterable[Observation], timestamp: int) -> None:
        """Put observations into the outbox, each under all of its keys."""
        for observation in observations:
            value = encode(observation)
            for key in record_keys(observation):
                partition = partition_of(key, self._partitions)
                outbox.add(
                    self._topic, partition, key=key.encode(), value=value, timestamp=timestamp
                )
