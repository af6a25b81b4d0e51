"""The normaliser: raw bodies to observations and dead letters, at least once.

A round is: poll, normalise, send everything, see every acknowledgement, and only then commit the
offsets. A crash repeats a round, and a repeated observation is harmless: the tracker knows it.

No body stops the others (decision 18): one that costs too much, is too large for a topic or raises
what nobody foresaw is a dead letter, and a partition that cannot go on stands alone.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetOutOfRangeError
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
from processors.runtime.cpu_budget import Pace
from processors.runtime.raw_record import RawRecord, raw_record
from processors.runtime.record_batches import Outbox, Outgoing, UnsentError, deliver
from processors.tracking.batch_size import Cut
from providers import NAMES
from providers.contract import DeadLetter, Normalised
from providers.fields import word
from providers.rejection import Refused
from schemas.coordinates import Coordinates, at
from schemas.webhook import source_of
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

log = logging.getLogger(__name__)

Polled = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]

_POLL_MS = 200
_ROUND = 1000
_RETRY_SECONDS = 1.0
_ASK_SECONDS = 30.0
_FINISH_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0

# What one body may cost: seconds of the processor's time, and bytes of what comes of it.
_BODY_SECONDS = 0.25
_BODY_BYTES = 32 * 1024 * 1024

# Of so many observations the records are made without a pause, and are less than `_BODY_BYTES`.
_FEW = 16

# How often a partition that cannot go on is tried again, and how long health shows a body that was
# set aside for what Bluetick or its topics cannot do.
_TRY_AGAIN_SECONDS = 60.0
_SHOWN_SECONDS = 600.0


class Normaliser(ConsumerRebalanceListener):
    """One consumer over all raw topics, one producer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bodies = Bodies(settings)
        self._consumer = clients.consumer(settings, settings.topics.group("normalise"))
        self._producer: AIOKafkaProducer | None = None
        self._joined = False
        self._trouble = ""
        self._stopping = False
        self._unplaced: set[TopicPartition] = set()
        self._placed: set[TopicPartition] = set()
        self._order: InTime[ConsumerRecord[bytes, bytes]] = InTime(_PATIENCE_SECONDS)
        self._idle = True
        self._windows = Windows(Limits(settings.dead_letter_ratio, settings.dead_letter_run))
        self._alarms = Alarms(log)
        self._halted: set[TopicPartition] = set()
        self._try_again_at = 0.0
        self._pace = Pace()
        self._cut = Cut.whole(MOST_BODIES)
        self._under_way = 0
        self._foreign_accounts = Alarm()

    async def run(self, stop: asyncio.Event) -> None:
        """Normalise until `stop` is set; raises what made going on impossible."""
        work = asyncio.create_task(self._work())
        halt = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, halt], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A round cut off is repeated by whoever comes next, its dead letters too.
            self._stopping = True
            await asyncio.wait([work], timeout=_FINISH_SECONDS)
            work.cancel()
            halt.cancel()
            await asyncio.wait([work])
            await clients.leave(self._consumer)
            await self._drop_producer()
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        self._consumer.subscribe(list(self._settings.topics.inputs("normalise")), listener=self)
        await clients.join(self._consumer)
        while not self._stopping:
            await self._round()

    def problems(self) -> list[str]:
        """Why the normaliser is not ready; nothing if it is."""
        alarms = self._alarms.sentences(time.monotonic())
        if self._trouble:
            return [*alarms, self._trouble]
        if not self._joined:
            return [*alarms, "the consumer group has not assigned partitions yet"]
        if waiting := sorted(tp.partition for tp in self._unplaced - self._halted):
            return [*alarms, f"partitions not ready yet: {waiting}"]
        return alarms

    async def broker_topics(self) -> set[str]:
        """Ask the broker for its topics: the sign that it answers."""
        return set(await self._consumer.topics())

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget them: whoever gets them repeats what was not committed."""
        del revoked  # eager assignors take all
        self._joined = False
        metrics.partitions.set(0)
        self._placed.clear()
        self._unplaced.clear()
        self._order.clear()
        for partition in list(self._halted):
            self._unhalt(partition)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note them; they are placed outside the callback, where heartbeats go on."""
        self._unplaced = set(assigned)
        self._joined = True
        self._consumer.pause(*self._unplaced)
        metrics.partitions.set(len(self._unplaced))
        log.info("assigned %d partitions", len(self._unplaced))

    async def _round(self) -> None:
        inputs = self._settings.topics.inputs("normalise")
        clients.refuse_repartitioned(self._consumer, inputs, self._settings.partitions)
        self._alarms.remind(time.monotonic())
        self._under_way = 0
        try:
            await self._place()
            if not self._placed:
                clients.check(self._consumer)
                await asyncio.sleep(_POLL_MS / 1000)
                return
            taken = await self._take()
            if taken:
                await self._process(taken)
            # Nothing may have been polled only because it is still being fetched again.
            if taken or await self._caught_up():
                self._trouble = ""
        except OffsetOutOfRangeError as error:
            for partition, offset in error.args[0].items():
                self._halt(partition, await clients.overtaken(self._consumer, partition, offset))
        except (UnsentError, KafkaError, TimeoutError, OSError) as error:
            self._trouble = str(error) or type(error).__name__
            log.warning("%s; repeating the round", self._trouble)
            self._cut = self._cut.failed(self._under_way)
            await self._start_over()

    async def _caught_up(self) -> bool:
        """Whether Kafka has said that there is no more to read."""
        for partition in self._placed:
            end = self._consumer.highwater(partition)
            if end is None or await self._consumer.position(partition) < end:
                return False
        return True

    async def _take(self) -> Polled:
        """Read on, and take what is next by its time."""
        if wanted := self._order.wanted():
            # What is in hand is worked on without a wait for more.
            wait = _POLL_MS if self._idle else 0
            self._order.add(
                await self._consumer.getmany(*wanted, timeout_ms=wait, max_records=_ROUND)
            )
        taken = self._order.take(self._consumer.highwater, time.monotonic())
        self._idle = not taken
        return taken

    async def _place(self) -> None:
        """Set newly assigned partitions to where the group stopped."""
        if self._halted and time.monotonic() >= self._try_again_at:
            self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS
            self._unplaced |= self._halted
        if not self._unplaced:
            return
        wanted = frozenset(self._unplaced)
        async with asyncio.timeout(_ASK_SECONDS):
            offsets = await self._starts(wanted)
        # Meanwhile the group may have changed its mind.
        for partition in offsets.keys() & self._unplaced:
            self._consumer.seek(partition, offsets[partition])
            self._consumer.resume(partition)
            self._unplaced.discard(partition)
            self._placed.add(partition)
            self._order.place(partition, offsets[partition])
            self._unhalt(partition)

    async def _starts(self, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the partitions begin; those that cannot go on are halted."""
        try:
            return await clients.start_offsets(self._consumer, wanted)
        except Problem:
            pass  # one of them, or several: each is asked for alone
        offsets: dict[TopicPartition, int] = {}
        for partition in wanted:
            try:
                offsets |= await clients.start_offsets(self._consumer, [partition])
            except Problem as problem:
                self._halt(partition, problem)
        return offsets

    def _halt(self, partition: TopicPartition, problem: Problem) -> None:
        """Read a partition no more for now: what is committed of it stays as it is."""
        if partition not in self._consumer.assignment():
            return
        self._unplaced.discard(partition)
        self._placed.discard(partition)
        self._order.forget([partition])
        self._consumer.pause(partition)
        if not self._halted:
            self._try_again_at = time.monotonic() + _TRY_AGAIN_SECONDS
        self._halted.add(partition)
        metrics.note_stopped(partition, stopped=True)
        sentence = f"{problem}; the other partitions go on"
        self._alarms.raise_(partition, sentence, time.monotonic())

    def _unhalt(self, partition: TopicPartition) -> None:
        self._halted.discard(partition)
        self._alarms.clear(partition)
        metrics.note_stopped(partition, stopped=False)

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

    async def _start_over(self) -> None:
        """Go back to what is committed, with a new producer."""
        await self._drop_producer()
        self._unplaced |= self._placed
        self._placed.clear()
        self._order.clear()
        await asyncio.sleep(_RETRY_SECONDS)


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
            found[topic] = (
                f"{_first_of(places)}: what comes of it is too large for {topic}; it is kept as a "
                "dead letter; raise that topic's max.message.bytes, then: bluetick dead-letters "
                "retry --code too_large"
            )
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
