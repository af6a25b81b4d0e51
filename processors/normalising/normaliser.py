"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, see every acknowledgement, and only then commit the
offsets. A crash repeats a round, and a repeated observation is harmless: the tracker knows it.

No body stops the others (decision 18): one that costs too much, is too large for a topic or raises
an unexpected error is a dead letter, and a partition that cannot continue is halted alone.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from msgspec import Struct

from processors.dead_letters.limit import Flood, Limits, Source, Windows, stopped
from processors.dead_letters.limit import Round as Counted
from processors.normalising.body_normaliser import Bodies
from processors.normalising.foreign_account_alarm import Alarm, Foreign, found
from processors.normalising.normalise import dead_letter
from processors.normalising.round_counts import Tallies
from processors.normalising.round_limit import MOST_BODIES, full
from processors.normalising.time_order import InTime, in_time
from processors.runtime import failpoints, metrics
from processors.runtime.alarms import Alarms
from processors.runtime.assigned_partitions import AssignedPartitions
from processors.runtime.batch_size import Cut
from processors.runtime.cpu_budget import Pace
from processors.runtime.group_worker import Member, Poll, Polled
from processors.runtime.raw_record import RawRecord, raw_record
from processors.runtime.record_batches import Outbox, Outgoing, UnsentError, deliver
from providers import NAMES
from providers.contract import DeadLetter, Normalised
from providers.fields import word
from providers.rejection import Refused
from schemas.coordinates import Coordinates, at
from schemas.webhook import source_of
from service import messages
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS = 200
_ROUND = 1000
_ASK_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0

# What one body may cost: seconds of the processor's time, and bytes of what comes of it.
_BODY_SECONDS = 0.25
_BODY_BYTES = 32 * 1024 * 1024

# Of so many observations the records are made without a pause, and are less than `_BODY_BYTES`.
_FEW = 16

# How long health shows a body that was set aside for what Bluetick or its topics cannot do.
_SHOWN_SECONDS = 600.0


class Normaliser(Member):
    """Normalises what a member of the group reads of all raw topics, with one producer."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        self._settings = settings
        self._consumer = consumer
        self._alarms = alarms
        self._bodies = Bodies(settings)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = AssignedPartitions(consumer, alarms)
        self._order: InTime[ConsumerRecord[bytes, bytes]] = InTime(_PATIENCE_SECONDS)
        self._idle = True
        self._windows = Windows(Limits(settings.dead_letter_ratio, settings.dead_letter_run))
        self._pace = Pace()
        self._cut = Cut.whole(MOST_BODIES)
        self._under_way = 0
        self._foreign_accounts = Alarm()

    def start(self) -> None:
        """Nothing runs between the rounds."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self._partitions.assign(partitions)
        log.info("assigned %d partitions", len(partitions))

    async def revoked(self) -> None:
        """Forget them: the next owner repeats what was not committed."""
        self._partitions.revoke()
        self._order.clear()

    async def next_poll(self) -> Poll:
        """Read ahead where little is in hand; what is in hand does not wait for more."""
        self._under_way = 0
        for partition, offset in (await self._partitions.seek()).items():
            self._order.place(partition, offset)
        if not self._partitions.ready:
            return Poll((), _POLL_MS, _ROUND)
        wanted = self._order.wanted()
        return Poll(wanted, _POLL_MS if wanted and self._idle else 0, _ROUND)

    async def records(self, polled: Polled) -> bool:
        """Normalise what is next by its time."""
        if not self._partitions.ready:
            return False
        self._order.add(polled)
        taken = self._order.take(self._consumer.highwater, time.monotonic())
        self._idle = not taken
        if taken:
            await self._process(taken)
        # Nothing may have been polled only because it is still being fetched again.
        return bool(taken) or await self._caught_up()

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        self._partitions.halt(partition, problem)
        self._order.forget([partition])

    def failed(self, error: Exception) -> str:
        trouble = str(error) or type(error).__name__
        log.warning("%s; repeating the round", trouble)
        return trouble

    async def start_over(self) -> None:
        """Go back to what is committed, with a new producer."""
        self._cut = self._cut.failed(self._under_way)
        await self._drop_producer()
        self._partitions.start_over()
        self._order.clear()

    def waiting(self) -> Iterable[TopicPartition]:
        return self._partitions.waiting

    async def close(self) -> None:
        await self._drop_producer()

    async def _caught_up(self) -> bool:
        """Whether Kafka has said that there is no more to read."""
        for partition in self._partitions.ready:
            end = self._consumer.highwater(partition)
            if end is None or await self._consumer.position(partition) < end:
                return False
        return True

    async def _process(self, polled: Polled) -> None:
        producer = self._producer or await self._start_producer()
        made = _Round(Outbox(producer, "normalise.after_first_send"), self._windows.begin())
        await self._normalise(polled, made)
        large = await deliver(producer, made.outbox, self._settings.transaction_timeout)
        await self._set_aside(producer, large, made)
        failpoints.reach("normalise.before_commit")
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                await self._consumer.commit(made.ends)
        except (CommitFailedError, IllegalStateError):
            log.info("the group was rebalanced under way: what is not committed is repeated")
            self._cut = self._cut.failed(made.bodies)
        else:
            failpoints.reach("normalise.after_commit")
            self._cut = self._cut.passed()
            self._committed(made)

    async def _normalise(self, polled: Polled, made: "_Round") -> None:
        """Normalise in the order of time what a round may take; the rest is put back."""
        session, began, lasted = self._settings.session_timeout, time.monotonic(), 0.0
        reached: dict[tuple[str, int], int] = {}
        for record in in_time(polled):
            if made.bodies >= self._cut.size or full(made.size, lasted, session):
                break
            raw = raw_record(record)
            reached[raw.topic, raw.partition] = raw.offset + 1
            made.bodies = self._under_way = made.bodies + 1
            await self._body(raw, made)
            if self._pace.due():
                await self._pace.pause()
                lasted = time.monotonic() - began
        made.ends = {tp: reached[tp] for tp in polled if tp in reached}
        self._order.put_back(
            {tp: _since(made.ends.get(tp, 0), records) for tp, records in polled.items()}
        )

    async def _body(self, raw: RawRecord, made: "_Round") -> None:
        """Add what comes of one body; whatever it does, something does."""
        provider = self._bodies.provider(raw)
        source = _named(provider, source_of(raw.headers, provider))
        if not made.counted.wants(source):
            reason = f"too many bodies of the source {source.name} were dead letters"
            made.add(raw, provider, self._refused(raw, Refused("source_stopped", reason)))
            return
        try:
            result = self._bodies.begun(raw)
            if not isinstance(result, Normalised):
                result = await self._pace.within(result, _BODY_SECONDS)
            if result.dead_letters or len(result.observations) > _FEW:
                done = await self._records(raw, result)
            else:
                records = list(self._bodies.observed(raw, result.observations, clock.now()))
                done = _Done(result, records, sum([len(one.value) for one in records]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the body is kept
            done = self._refused(raw, error)
        if letters := done.result.dead_letters:
            made.counted.add(source, at(raw), letters[0].code)
        else:
            made.counted.good(source)
        made.add(raw, provider, done)

    async def _records(self, raw: RawRecord, result: Normalised) -> "_Done":
        """The records of a body; `Refused` if they are too many."""
        now = clock.now()
        records: list[Outgoing] = []
        size = 0
        for record in chain(
            self._bodies.observed(raw, result.observations, now),
            self._bodies.kept(raw, result.dead_letters, now),
        ):
            records.append(record)
            size += record.size
            if size > _BODY_BYTES:
                raise Refused("too_costly", f"over {_BODY_BYTES} bytes would come of it")
            if self._pace.due():
                await self._pace.pause()
        return _Done(result, records, size)

    def _refused(self, raw: RawRecord, error: Exception) -> "_Done":
        """One dead letter for all of a body."""
        letter, now = dead_letter(error, raw.body or b""), clock.now()
        try:
            [record] = self._bodies.kept(raw, [letter], now)
        except Exception:  # noqa: BLE001 - headers that cannot be copied; the raw record has them
            [record] = self._bodies.kept(raw._replace(headers=()), [letter], now)
        return _Done(Normalised(dead_letters=[letter]), [record], record.size)

    async def _set_aside(
        self, producer: AIOKafkaProducer, large: Sequence[Outgoing], made: "_Round"
    ) -> None:
        """Keep the bodies of records that are too large for their topics as dead letters.

        A dead letter that is itself too large is kept without its value.
        """
        letters: dict[Coordinates, Outgoing] = {}
        bare = [self._bodies.bare(one) for one in large if self._bodies.is_letter(one)]
        for one in large:
            place = at(one.raw)
            made.large[place] = one.topic
            if not self._bodies.is_letter(one) and place not in letters:
                done = self._refused(one.raw, _too_large(one))
                made.tallies.count_letter(self._bodies.provider(one.raw), "too_large")
                letters[place] = done.records[0]
        bare += map(self._bodies.bare, await self._apart(producer, letters.values()))
        if left := await self._apart(producer, bare):
            raise UnsentError(
                f"Kafka does not take what goes to {left[0].topic} (MessageSizeTooLargeError), "
                "not even a dead letter without its value: raise its max.message.bytes"
            )

    async def _apart(
        self, producer: AIOKafkaProducer, records: Iterable[Outgoing]
    ) -> list[Outgoing]:
        outbox = Outbox(producer)
        outbox.put(records)
        return await deliver(producer, outbox, self._settings.transaction_timeout)

    def _committed(self, made: "_Round") -> None:
        """Count what a round did, and say what a person has to look at."""
        now = time.monotonic()
        made.tallies.publish()
        self._foreign_accounts.raise_for(made.foreign)
        self._windows.keep(made.counted)
        for kind, sentence in made.sentences().items():
            self._alarms.raise_(kind, sentence, now, _SHOWN_SECONDS)
        floods = {flood.source: flood for flood in self._windows.floods()}
        for source, flood in floods.items():
            self._alarms.raise_(source, str(flood), now)
        for cause in self._alarms.causes():
            if isinstance(cause, Source) and cause not in floods:
                self._alarms.clear(cause)
                log.warning("source %s of %s goes on", cause.name, cause.provider)
        for provider, count in _stopped(floods.values()).items():
            metrics.stopped.labels(provider).set(count)

    async def _start_producer(self) -> AIOKafkaProducer:
        self._producer = clients.producer(self._settings)
        await self._producer.start()
        return self._producer

    async def _drop_producer(self) -> None:
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None


class _Done(Struct, frozen=True, gc=False):
    """What came of one body: as a result, and as records of so many bytes."""

    result: Normalised
    records: Sequence[Outgoing]
    size: int


@dataclass(slots=True)
class _Round:
    """A round under way; `ends` are the offsets after what it took."""

    outbox: Outbox
    counted: Counted
    tallies: Tallies = field(default_factory=Tallies)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    bodies: int = 0
    size: int = 0
    # The topics that do not take what comes of a body; and our own mistakes.
    large: dict[Coordinates, str] = field(default_factory=dict)
    mistakes: dict[Coordinates, DeadLetter] = field(default_factory=dict)
    foreign: list[Foreign] = field(default_factory=list)

    def add(self, raw: RawRecord, provider: str, done: _Done) -> None:
        """Add what came of a body."""
        self.outbox.put(done.records)
        self.size += done.size
        self.tallies.count(provider, done.result)
        if done.result.dead_letters:
            self._note(raw, provider, done.result.dead_letters)

    def _note(self, raw: RawRecord, provider: str, letters: Sequence[DeadLetter]) -> None:
        """Remember a body that met a mistake of ours, or speaks for accounts of others."""
        for letter in letters:
            if letter.code == "internal_error":
                self.mistakes[at(raw)] = letter
        self.foreign += found(raw, provider, letters)

    def sentences(self) -> dict[str, str]:
        """What a person has to look at, by its cause: one body of each, and how many more."""
        found: dict[str, str] = {}
        for topic in sorted(set(self.large.values())):
            places = [place for place, one in self.large.items() if one == topic]
            fields = {"places": _first_of(places), "topic": topic}
            found[topic] = messages.sentence("result_too_large", fields)
        if self.mistakes:
            places, (letter, *_) = list(self.mistakes), self.mistakes.values()
            found["internal_error"] = (
                f"{_first_of(places)}: {letter.reason} ({_innermost(letter)}); it is kept as a "
                "dead letter internal_error"
            )
        return found


@lru_cache(maxsize=1024)  # there are few, each in a million webhooks
def _named(provider: str, name: str) -> Source:
    """A source; its name is a header, so anything, and ends in logs."""
    return Source(provider, word(name))


def _since(
    offset: int, records: Sequence[ConsumerRecord[bytes, bytes]]
) -> Sequence[ConsumerRecord[bytes, bytes]]:
    """The records from an offset on, of one partition's."""
    return [one for one in records if one.offset >= offset] if records[-1].offset >= offset else []


def _first_of(places: Sequence[Coordinates]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return "{}/{}/{}".format(*places[0]) + more


def _innermost(letter: DeadLetter) -> str:
    return letter.stacktrace.rpartition("\n")[2]


def _too_large(record: Outgoing) -> Refused:
    return Refused("too_large", f"what comes of it is too large for {record.topic}")


def _stopped(floods: Iterable[Flood]) -> dict[str, int]:
    """How many sources of each provider are stopped, none included."""
    return dict.fromkeys(NAMES, 0) | stopped(floods)
