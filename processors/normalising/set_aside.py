"""Bodies whose results are too large for their topics: they become dead letters."""

from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer

from processors.normalising.body_normaliser import Bodies
from processors.normalising.body_outcome import BodyOutcomes
from processors.normalising.round import Round
from processors.runtime.record_batches import Outbox, Outgoing, UnsentError, deliver
from providers.rejection import Refused
from schemas.coordinates import Coordinates, at


class LargeResults:
    """Keeps the bodies of records that are too large for their topics as dead letters.

    A dead letter that is itself too large is kept without its value.
    """

    def __init__(self, bodies: Bodies, outcomes: BodyOutcomes, seconds: float) -> None:
        """`seconds` is the deadline of a delivery."""
        self._bodies = bodies
        self._outcomes = outcomes
        self._seconds = seconds

    async def set_aside(
        self, producer: AIOKafkaProducer, large: Sequence[Outgoing], round_: Round
    ) -> None:
        """Publish the dead letters of these records' bodies, and note them in the round."""
        letters: dict[Coordinates, Outgoing] = {}
        bare = [self._bodies.bare(one) for one in large if self._bodies.is_letter(one)]
        for one in large:
            place = at(one.raw)
            round_.large[place] = one.topic
            if self._bodies.is_letter(one):
                continue
            first = place not in letters
            round_.tallies.count_large(self._bodies.provider(one.raw), one, first=first)
            if first:
                letters[place] = self._outcomes.refused(one.raw, _too_large(one)).records[0]
        bare += map(self._bodies.bare, await self._apart(producer, letters.values()))
        if left := await self._apart(producer, bare):
            raise UnsentError(
                f"Kafka does not accept the records for {left[0].topic} (MessageSizeTooLargeError),"
                " not even a dead letter without its value: raise its max.message.bytes"
            )

    async def _apart(
        self, producer: AIOKafkaProducer, records: Iterable[Outgoing]
    ) -> list[Outgoing]:
        outbox = Outbox(producer)
        outbox.put(records)
        return await deliver(producer, outbox, self._seconds)


def _too_large(record: Outgoing) -> Refused:
    return Refused("too_large", f"the result is too large for {record.topic}")
