"""The records of one batch of the tracker, and their transaction (runtime/exactly_once/)."""

from collections import Counter

from processors.runtime.exactly_once import metrics as transaction_metrics
from processors.runtime.exactly_once.changelog_headers import NEXT_TIMER, NOTE, TAKEN_TO
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.partition_store import Anchor
from processors.runtime.exactly_once.transaction import commit, deadline
from processors.runtime.metrics import add, dead_letters, provider_label
from processors.runtime.record_batches import Outbox
from processors.tracking import metrics
from processors.tracking.batch_types import Reduced
from processors.tracking.outputs import TOPICS as OUTPUT_TOPICS
from processors.tracking.recovery import outputs_of
from processors.tracking.session import Session
from processors.tracking.split_transactions import identities, without
from processors.tracking.tracking_dead_letters import Letter, headers_of
from schemas.records import message_of
from schemas.topics import Topics
from service.kafka.clock import clock
from service.settings import Settings


async def publish(
    settings: Settings, session: Session, result: Reduced, taken_to: int | None, *, apart: bool
) -> Anchor | None:
    """Publish under a deadline; return the last changelog record, None if unknown.

    `taken_to` is the offset to commit, None if the batch has no record; `apart` sends each record
    alone, to find the one that Kafka refuses.
    """
    async with deadline(settings, session):
        new, anchor = await _commit(settings, session, result, taken_to, apart=apart)
    _count(new)
    return anchor


def _count(result: Reduced) -> None:
    """Count what a committed transaction holds."""
    outcomes: Counter[tuple[str, ...]] = Counter()
    for (provider, outcome), count in result.counts.outcomes.items():
        outcomes[provider_label(provider), outcome] += count
    add(metrics.outcomes, outcomes)
    add(metrics.events, result.counts.events)
    add(dead_letters, Counter(_labels(one) for one in result.letters))
    transaction_metrics.batch_records.add([result.taken])
    now = clock.now()
    metrics.end_to_end_seconds.add([max(0, now - at) / 1000 for at in result.counts.received])


async def _commit(
    settings: Settings, session: Session, result: Reduced, taken_to: int | None, *, apart: bool
) -> tuple[Reduced, Anchor | None]:
    """Commit a transaction; return its contents, and the last changelog record."""
    topics, partition = settings.topics, session.partition.partition
    # The records of a transaction share a unique time, which identifies its parts.
    now = session.stamp = max(clock.now(), session.stamp + 1)
    new, left = without(result, session.seen)
    note = session.note.after(
        now,
        session.offset,
        states=bool(result.states),
        seen=bool(session.seen),
        outputs=len(identities(new)),
    )

    def fill(outbox: Outbox) -> None:
        offset = session.offset if taken_to is None else taken_to
        _Filling(topics, partition, outbox, now).fill(new, offset, note)

    ends = await commit(session, outputs_of(settings, partition), fill, taken_to, note, apart=apart)
    session.seen = left if note.window else frozenset()
    end = ends.get(topics.messages)
    return new, None if end is None else Anchor(end - 1, now)


class _Filling:
    """Adds the records of one transaction to the outbox; `now` is their time."""

    def __init__(self, topics: Topics, partition: int, outbox: Outbox, now: int) -> None:
        self._topics = topics
        self._partition = partition
        self._outbox = outbox
        self._now = now

    def fill(self, result: Reduced, taken_to: int, note: Note) -> None:
        """Add outputs, changelog and dead letters; the first of the last two has the headers."""
        self._outputs(result)
        headers = [(TAKEN_TO, b"%d" % taken_to), (NOTE, note.metadata.encode())]
        self._letters(result, self._states(result, headers))

    def _outputs(self, result: Reduced) -> None:
        names = {topic: f"{self._topics.namespace}.{topic}" for topic in OUTPUT_TOPICS}
        for out in result.outputs:
            self._outbox.add(
                names[out.topic],
                self._partition,
                key=out.key,
                value=out.value,
                timestamp=self._now,
                headers=out.headers,
                owner=out.key.decode(),
            )

    def _states(self, result: Reduced, first: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Add the changelog; return the headers that no record has yet."""
        headers = first
        for key, value in result.states.items():
            if value is not None:
                headers.append((NEXT_TIMER, b"%d" % result.armed[key]))
            self._outbox.add(
                self._topics.messages,
                self._partition,
                key=key,
                value=value,
                timestamp=self._now,
                headers=headers,
                owner=message_of(key.decode()),
            )
            headers = []
        return headers

    def _letters(self, result: Reduced, first: list[tuple[str, bytes]]) -> None:
        """Add dead letters, on the task's own partition."""
        for letter in result.letters:
            self._outbox.add(
                self._topics.dead_letters,
                self._partition,
                key=None,
                value=letter.letter.value,
                timestamp=self._now,
                headers=[*headers_of(letter), *first],
                owner=letter.key,
            )
            first = []


def _labels(letter: Letter) -> tuple[str, ...]:
    return provider_label(letter.provider), letter.letter.code
