"""From a raw record to records of `observations` and `dead-letters`; for all services."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from processors.dead_letters.record import headers
from processors.normalising.accounts import UNCORRECTED, Corrections
from processors.normalising.webhook_to_observations import begun, dead_letter, whole
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outgoing
from providers.contract import DeadLetter, Normalised
from providers.json_slices import USUAL, Bounds
from providers.pausable_work import Steps, finished
from schemas.codec import encode
from schemas.coordinates import at
from schemas.records import Observation, record_keys
from schemas.topics import partition_of
from schemas.webhook import from_record
from service import tracing
from service.settings import Settings
from service.tracing import Headers


class Bodies:
    """Normalises raw records and makes the records to send.

    `corrections` are accounts of sources, permitted in addition to those at reception.
    """

    def __init__(self, settings: Settings, corrections: Corrections = UNCORRECTED) -> None:
        self._corrections = corrections
        self._stories = settings.stories
        self._privacy = settings.privacy_in_force
        self._traces = settings.traces != "off"
        topics = settings.topics
        self._providers = {topic: topics.provider_of(topic) for topic in topics.raw_topics}
        self._topic = topics.observations
        self._dead_letters = topics.dead_letters
        self._partitions = settings.partitions

    def provider(self, record: RawRecord) -> str:
        """Return the provider of the record's topic."""
        return self._providers[record.topic]

    def normalised(self, record: RawRecord, bounds: Bounds = USUAL) -> Normalised:
        """Return the result of a raw record."""
        begun = self.begun(record, bounds)
        return begun if isinstance(begun, Normalised) else finished(begun)

    def begun(self, record: RawRecord, bounds: Bounds = USUAL) -> Normalised | Steps[Normalised]:
        """Return the result at once if the body is small, otherwise short steps to it."""
        try:
            provider = self._providers[record.topic]
            webhook = from_record(provider, record.body, record.headers, record.timestamp)
        except Exception as error:  # noqa: BLE001 - after any error the body is kept
            return whole(dead_letter(error, record.body or b""))
        return begun(
            webhook,
            at(record),
            bounds,
            self._corrections,
            stories=self._stories,
            privacy=self._privacy,
        )

    def observed(
        self,
        record: RawRecord,
        observations: Iterable[Observation],
        timestamp: int,
        context: Headers | None = None,
    ) -> Iterator[Outgoing]:
        """Yield the records of observations, each under all of its keys.

        They carry a trace's `context`; without it the raw record's, if traces are on.
        """
        if context is None:
            context = tracing.context(record.headers) if self._traces else ()
        for observation in observations:
            value = encode(observation)
            for key in record_keys(observation):
                partition = partition_of(key, self._partitions)
                yield Outgoing(
                    self._topic, partition, key.encode(), value, timestamp, context, record
                )

    def kept(
        self, record: RawRecord, letters: Iterable[DeadLetter], timestamp: int
    ) -> Iterator[Outgoing]:
        """Yield the records of a raw record's dead letters, on the same partition number.

        Under a policy for personal data they have coordinates and reason alone: the raw topic has
        the rest.
        """
        keeps_all = self._privacy.policy.keeps_all
        raw = record if keeps_all else record._replace(headers=())
        for letter in letters:
            own = headers(letter, at(raw), raw.timestamp, raw.headers)
            value = letter.value if keeps_all else b""
            place = (self._dead_letters, raw.partition)
            yield Outgoing(*place, None, value, timestamp, own, raw)

    def bare(self, letter: Outgoing) -> Outgoing:
        """Return a dead letter with an empty value, and without the raw record's own headers.

        The raw topic has both, at the coordinates of the dead letter.
        """
        added = len(letter.headers) - len(letter.raw.headers)
        return replace(letter, value=b"", headers=letter.headers[:added])

    def is_letter(self, record: Outgoing) -> bool:
        return record.topic == self._dead_letters
