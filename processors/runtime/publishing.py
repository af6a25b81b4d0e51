"""From a raw record to records of `observations` and `dead-letters`: the one way, live or not."""

from collections.abc import Iterable

from processors.accounts import UNCORRECTED, Corrections
from processors.normalise import normalise
from processors.providers.base import Coordinates, DeadLetter, Normalised
from processors.runtime.deadletters import headers
from processors.runtime.outbox import Outbox
from processors.runtime.spans import RawRecord
from schemas.codec import encode
from schemas.records import Observation, record_keys
from schemas.settings import Settings
from schemas.topics import partition_of
from schemas.webhook import from_record


class Bodies:
    """What raw records amount to, and its way into an outbox.

    `corrections` are accounts of sources, permitted beside those at reception.
    """

    def __init__(self, settings: Settings, corrections: Corrections = UNCORRECTED) -> None:
        self._corrections = corrections
        topics = settings.topics
        self._providers = {topic: topics.provider_of(topic) for topic in topics.raw_topics}
        self._topic = topics.observations
        self._dead_letters = topics.dead_letters
        self._partitions = settings.partitions

    def provider(self, record: RawRecord) -> str:
        """Whose bodies the record's topic holds."""
        return self._providers[record.topic]

    def normalised(self, record: RawRecord) -> Normalised:
        """What a raw record amounts to."""
        provider = self._providers[record.topic]
        webhook = from_record(provider, record.body, record.headers, record.timestamp)
        at = Coordinates(record.topic, record.partition, record.offset)
        return normalise(webhook, at, self._corrections)

    def publish(self, outbox: Outbox, observations: Iterable[Observation], timestamp: int) -> None:
        """Put observations into the outbox, each under all of its keys."""
        for observation in observations:
            value = encode(observation)
            for key in record_keys(observation):
                partition = partition_of(key, self._partitions)
                outbox.add(
                    self._topic, partition, key=key.encode(), value=value, timestamp=timestamp
                )

    def keep(
        self, outbox: Outbox, record: RawRecord, letters: Iterable[DeadLetter], timestamp: int
    ) -> None:
        """Put a raw record's dead letters into the outbox, on the partition of its number."""
        raw = Coordinates(record.topic, record.partition, record.offset)
        for letter in letters:
            outbox.add(
                self._dead_letters,
                record.partition,
                key=None,
                value=letter.value,
                timestamp=timestamp,
                headers=headers(letter, raw, record.timestamp, record.headers),
            )
