"""One partition's task: exactly-once tracking (docs/decisions/0003-aiokafka.md has the evidence).

A task owns a transactional producer (its fencing token), a store, and a short queue of records. A
batch is what the queue holds and a bounded number of timers that are due. Its order, and why:

1. read the states of all keys at once; the pure pass makes new states and outputs;
2. begin a transaction; send outputs and changelog, then the consumer's offset;
3. look at every delivery: aiokafka would commit over a batch that failed;
4. commit; 5. write the states and the anchor to the store, in one batch.

A crash before 4 leaves nothing, between 4 and 5 a store that is behind and is caught up from the
changelog. Any error or deadline before 4 has ended throws the producer away, never the truth.

A batch that takes too long, or that Kafka refuses as too large, is cut smaller when it is repeated;
the one message that is at fault is set aside (docs/decisions/0017-bounds.md). What no repetition
mends stops the partition, not the process: it is tried again from time to time.
"""

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata

from processors.dead_letters import record
from processors.runtime import failpoints, metrics
from processors.runtime.alarms import Alarms
from processors.runtime.fetch_times import Answers
from processors.runtime.record_batches import Outbox, TooLargeError
from processors.tracking import split_transactions
from processors.tracking.batch import Reduced, Work, reduce
from processors.tracking.batch_size import Cut
from processors.tracking.hanging_transactions import NOTE, TAKEN_TO, settle
from processors.tracking.outputs import source_of
from processors.tracking.restore import NEXT_TIMER, restore
from processors.tracking.set_aside import Letter, SetAside
from processors.tracking.split_transactions import Note, without
from processors.tracking.state_store import Anchor, CorruptError, Store
from processors.tracking.timers import Patience
from providers.rejection import calls
from schemas.records import message_of
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.clock_offset import refused_time
from service.settings import Settings

log = logging.getLogger(__name__)

Record = ConsumerRecord[bytes, bytes]

_QUEUED = 2  # polls kept while a batch is on its way, so that the next one is there when it is done
_BATCH = 4000
_TIMERS = 250  # fired in one transaction: what waits for more of them must not wait long
_TICK_SECONDS = 1.0
_epochs = itertools.count()  # no two tasks of a process share one
_RETRY_SECONDS = 1.0
_ASK_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
# A partition that cannot go on is tried again after so long.
_STOPPED_SECONDS = 60.0
# So many records at most are sent apart, to learn which one is refused.
_APART = 500
# How long health shows that something was set aside by a mistake.
_SHOWN_SECONDS = 600.0


class Task:
    """Tracks one partition until it is closed; while it is `stopped` it cannot go on."""

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        settled: Callable[[float], int],
        alarms: Alarms,
    ) -> None:
        """`settled` tells up to when one who was at the end of the log then has heard of all."""
        self.partition = partition
        self.ready = False
        self.stopped = False
        # Records polled in another epoch, or for another task, were made void by a seek.
        self.epoch = next(_epochs)
        self._settings = settings
        self._consumer = consumer
        self._settled = settled
        self._alarms = alarms
        self._queue: deque[Sequence[Record]] = deque()
        self._fed = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._working = False
        self._fenced_at = -math.inf
        self._cut = Cut.whole(_BATCH)
        self._apart = False
        self._unwanted: dict[str, SetAside] = {}
        self._fault: Problem | None = None
        self._patience = patience_of(settings)
        self._source = source_of(settings.installation)
        self._latest = 0
        self._losses = 0
        self._stamp = 0  # the time of the last transaction's records, Unix ms
        self._offset = 0  # the offset that is committed
        self._note = Note()  # what is committed with it
        self._seen = frozenset[bytes]()  # outputs that consumers see already
        self._answers = Answers()
        self._producer: AIOKafkaProducer | None = None
        self._store: Store | None = None
        self._runner = asyncio.create_task(self._run(), name=f"track-{partition.partition}")

    @property
    def hungry(self) -> bool:
        """Whether the task can take more records."""
        return self.ready and len(self._queue) < _QUEUED

    def feed(self, records: Sequence[Record], epoch: int) -> None:
        """Take records polled in `epoch`.

        If the task has recovered since, or the poll began for an earlier one, they may lie
        anywhere: the position is set back to the next record the task has not had.
        """
        if epoch != self.epoch:
            if self.ready:
                self._consumer.seek(self.partition, self._fed)
            return
        self._queue.append(records)
        self._fed = records[-1].offset + 1
        self._arrived.set()

    async def close(self) -> None:
        """Stop; a batch on its way may end first, under its own deadline."""
        self._closing = True
        self.ready = False
        self._arrived.set()
        patience = self._settings.transaction_timeout if self._working else 0
        if patience:
            await asyncio.wait([self._runner], timeout=patience)
        self._runner.cancel()
        await asyncio.wait([self._runner], timeout=_CLOSE_SECONDS)

    def stop(self, problem: Problem) -> None:
        """Have the partition stopped for that reason, until it is tried again."""
        self._fault = problem
        self._arrived.set()

    async def _run(self) -> None:
        try:
            while not self._closing:
                try:
                    await self._track()
                except Exception as error:  # noqa: BLE001 - a partition must not end the others
                    await self._stand_still(error)
        except asyncio.CancelledError:
            pass
        finally:
            self.ready = False
            self._alarms.clear(self.partition)
            metrics.stopped_partitions.labels(str(self._number)).set(0)
            await self._release()

    async def _track(self) -> None:
        """Recover and work, once; raises what a repetition at once does not mend."""
        try:
            await self._recover()
            await self._work()
        except ProducerFenced:
            await self._wait_for_revocation()
        except CorruptError as error:
            log.warning("partition %d: %s; restoring it", self._number, error)
            await self._stand_back()
            self._wipe()
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("partition %d: %s; recovering", self._number, _words(error))
            await self._stand_back()

    async def _stand_still(self, error: Exception) -> None:
        """Leave the partition where it is for a while, and say why: the others go on."""
        why = str(error) if isinstance(error, Problem) else _mistake(error)
        self.stopped = True
        metrics.stopped_partitions.labels(str(self._number)).set(1)
        sentence = f"partition {self._number} is stopped: {why}; it is tried again each minute"
        self._alarms.raise_(self.partition, sentence, time.monotonic())
        self._fault = None
        if self.partition in self._consumer.assignment():
            self._consumer.pause(self.partition)
        await self._stand_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_SECONDS):
                while not self._closing:
                    self._arrived.clear()
                    await self._arrived.wait()

    async def _recover(self) -> None:
        """Fence whoever had the partition before, and only then look where to go on."""
        self.epoch = next(_epochs)
        self._queue.clear()
        self._answers = Answers()
        self._latest = 0  # what it was taken from may have to be done again
        topics = self._settings.topics
        self._producer = clients.producer(self._settings, topics.transactional_id(self._number))
        async with asyncio.timeout(4 * self._settings.transaction_timeout):
            await self._producer.start()
        self._losses = clients.losses(self._producer)
        failpoints.reach("track.after_fencing")
        async with asyncio.timeout(_ASK_SECONDS):
            offsets = await clients.start_offsets(self._consumer, [self.partition])
            note = await clients.offset_metadata(self._consumer, self.partition)
        note = await self._settle(offsets[self.partition], note)
        if self._store is None:
            identity = f"{topics.messages}[{self._number}]"
            self._store = Store(self._directory, identity)
        await restore(self._settings, self._store, self._number)
        await self._repair(Note.of(note), self._store.anchor)
        self._consumer.seek(self.partition, self._fed)
        self._consumer.resume(self.partition)
        self.ready = True
        self.stopped = False
        self._alarms.clear(self.partition)
        metrics.stopped_partitions.labels(str(self._number)).set(0)
        log.info("partition %d: ready, at offset %d", self._number, self._fed)

    async def _settle(self, start: int, note: str) -> str:
        """End what Kafka left open, and know where to go on; returns the offset's metadata."""
        assert self._producer is not None  # noqa: S101 - made before
        self._working = True  # cut short it may do harm: whoever closes the task waits for it
        try:
            self._fed, note = await settle(
                self._settings, self._producer, self.partition, start, note
            )
        finally:
            self._working = False
        return note

    async def _repair(self, note: Note, anchor: Anchor | None) -> None:
        """Go back if the states of the last transaction are missing; look what is published."""
        newest = anchor.timestamp if anchor else 0
        found = await split_transactions.find(
            self._settings, self.partition, self._fed, note, newest
        )
        self._fed = self._offset = found.offset
        self._note, self._seen = found.note, found.seen
        self._stamp = max(self._stamp, newest, found.note.latest)

    async def _work(self) -> None:
        while not self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._arrived.wait()
            self._arrived.clear()
            if self._fault is not None:
                raise self._fault
            self._refuse_loss()
            while not self._closing and (work := await self._next()):
                self._working = True
                try:
                    await self._batch(work)
                finally:
                    self._working = False

    async def _next(self) -> Work | None:
        """What is to be done now; None if that is nothing."""
        assert self._store is not None  # noqa: S101 - recovered before
        now = clock.now()
        horizon = await self._horizon(now)
        most = self._cut.size
        records: list[Record] = []
        while self._queue and len(records) < most:
            records += self._queue.popleft()
        self._put_back(records[most:])
        timers = self._store.due(horizon, min(_TIMERS, most))
        if not records and not timers:
            return None
        return Work(records[:most], timers, now, horizon, self._patience, source=self._source)

    def _put_back(self, records: Sequence[Record]) -> None:
        if records:
            self._queue.appendleft(records)
            self._arrived.set()

    async def _horizon(self, now: int) -> int:
        """Up to when timers may fire: as far as the log's time has come, less some grace.

        The wall clock counts only where neither the log nor the raw topics before it had more to
        say: after an outage, or while a namespace is rebuilt, receipts that came in time are still
        to be read, and nobody is to be alarmed before.
        """
        quiet = await self._quiet_until()
        come = max(self._latest, min(quiet or 0, now))
        return max(0, come - round(self._settings.timer_grace * 1000))

    async def _quiet_until(self) -> int | None:
        """Until when it is known that the log had nothing that was not taken; None if it has.

        Kafka's newest answer may have been on its way for long, but it was not asked for before
        the answer before it had come.
        """
        if self.partition not in self._consumer.assignment():
            return None
        answer = self._consumer.last_poll_timestamp(self.partition) or 0
        self._answers.look(answer, time.monotonic())
        end = self._consumer.last_stable_offset(self.partition)
        if self._queue or end is None or await self._consumer.position(self.partition) < end:
            return None
        return self._settled(self._answers.asked)

    async def _batch(self, work: Work) -> None:
        assert self._producer is not None  # noqa: S101 - recovered before
        assert self._store is not None  # noqa: S101
        result = await reduce(work, self._store.get, self._unwanted)
        anchor = None
        if result.taken or result.states:
            try:
                anchor = await self._transaction(self._producer, work, result)
            except TooLargeError as error:
                self._look_for(error)
                raise
            except TimeoutError:
                self._cut = self._cut.failed(result.taken + len(work.timers))
                raise
        self._store.write(result.states, anchor, result.armed, result.spent)
        failpoints.reach("track.after_store_write")
        self._put_back(cast("Sequence[Record]", work.records[result.taken :]))
        self._latest = max(self._latest, result.latest)
        self._cut, self._apart, self._unwanted = self._cut.passed(), False, {}
        self._report(result.letters)
        self._refuse_loss()

    def _look_for(self, error: TooLargeError) -> None:
        """Find the messages that Kafka refuses, in one more attempt, and then set them aside.

        If their dead letters are what Kafka refuses, these go without a value.
        """
        if not self._apart:
            self._apart = True
            self._cut = self._cut._replace(size=min(self._cut.size, _APART))
            return
        self._apart = False
        for key in error.owners:
            known = self._unwanted.get(key)
            if known is not None and known.valueless:
                raise Problem(f"{error}; not even a dead letter without its value is taken")
            self._unwanted[key] = SetAside.refused(str(error), again=known is not None)

    def _refuse_loss(self) -> None:
        """Go on with a new producer once a connection was lost, even after a commit.

        What was sent again may arrive twice: a new epoch shuts it out. And what Kafka did not end,
        because it went down, is ended.
        """
        assert self._producer is not None  # noqa: S101 - recovered before
        if clients.losses(self._producer) > self._losses:
            raise KafkaConnectionError("a connection was lost")

    async def _transaction(
        self, producer: AIOKafkaProducer, work: Work, result: Reduced
    ) -> Anchor | None:
        """Publish under a deadline; returns the last changelog record, None if unknown."""
        self._refuse_loss()  # nothing is awaited between this look and the next
        try:
            async with clients.unbroken(producer, self._settings.transaction_timeout * 2 / 3):
                with clients.explained(producer):
                    anchor = await self._commit(producer, work, result)
        except BaseException:
            metrics.transactions.labels("failed").inc()
            raise
        metrics.transactions.labels("committed").inc()
        metrics.add(metrics.outcomes, result.outcomes)
        metrics.add(metrics.events, result.events)
        metrics.add(metrics.dead_letters, Counter(_labels(one) for one in result.letters))
        return anchor

    async def _commit(
        self, producer: AIOKafkaProducer, work: Work, result: Reduced
    ) -> Anchor | None:
        """Publish in one transaction."""
        topics = self._settings.topics
        failpoints.reach("track.before_begin")
        await producer.begin_transaction()
        outbox = Outbox(producer, "track.after_first_send", apart=self._apart)
        # Its records bear a time of their own, by which its parts are known to belong together.
        now = self._stamp = max(clock.now(), self._stamp + 1)
        taken_to = work.records[result.taken - 1].offset + 1 if result.taken else None
        new, left = without(result, self._seen)
        note = self._note.after(
            now, self._offset, states=bool(result.states), seen=bool(self._seen)
        )
        self._fill(outbox, new, now, taken_to, note)
        ends = await outbox.send()
        failpoints.reach("track.after_sends")
        offset = self._offset if taken_to is None else taken_to
        # Timers alone take nothing; but the next owner must know of outputs that are left out.
        if taken_to is not None or note.window is not None:
            await producer.send_offsets_to_transaction(
                {self.partition: OffsetAndMetadata(offset, note.metadata)}, topics.group("track")
            )
        failpoints.reach("track.after_offsets")
        failpoints.pass_soon("track.during_commit")
        await producer.commit_transaction()
        failpoints.reach("track.after_commit")
        self._offset, self._note = offset, note
        self._seen = left if note.window else frozenset()
        end = ends.get(topics.messages)
        return None if end is None else Anchor(end - 1, now)

    def _fill(
        self, outbox: Outbox, result: Reduced, now: int, offset: int | None, note: Note
    ) -> None:
        """Put outputs and changelog into batches; `now` is the records' time."""
        topics = self._settings.topics
        for out in result.outputs:
            outbox.add(
                f"{topics.namespace}.{out.topic}",
                self._number,
                key=out.key,
                value=out.value,
                timestamp=now,
                headers=out.headers,
                owner=out.key.decode(),
            )
        headers = [(TAKEN_TO, b"%d" % offset)] if offset is not None else []
        headers.append((NOTE, note.metadata.encode()))
        for key, value in result.states.items():
            if value is not None:
                headers.append((NEXT_TIMER, b"%d" % result.armed[key]))
            outbox.add(
                topics.messages,
                self._number,
                key=key,
                value=value,
                timestamp=now,
                headers=headers,
                owner=message_of(key.decode()),
            )
            headers = []
        self._fill_letters(outbox, result, now, headers)

    def _fill_letters(
        self, outbox: Outbox, result: Reduced, now: int, first: list[tuple[str, bytes]]
    ) -> None:
        """Put dead letters into batches, on the task's own partition."""
        for letter in result.letters:
            outbox.add(
                self._settings.topics.dead_letters,
                self._number,
                key=None,
                value=letter.letter.value,
                timestamp=now,
                headers=[*record.of_tracking(letter), *first],
                owner=letter.key,
            )
            first = []

    def _report(self, letters: Sequence[Letter]) -> None:
        """Say what was set aside; a mistake, of ours or in a record, is shown by health too."""
        for code, found in _by_code(letters).items():
            first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
            place = "{}/{}/{}".format(*first.observed)
            sentence = f"{place}{more} set aside as a dead letter, {code}: {first.letter.reason}"
            if first.past_bound:
                log.warning("%s", sentence)
            else:
                self._alarms.raise_(code, sentence, time.monotonic(), _SHOWN_SECONDS)

    async def _stand_back(self) -> None:
        """Throw the producer away: what it last did is unknown until a new one has fenced it."""
        self.ready = False
        if self._producer is not None:
            await clients.abandon(self._producer)
            self._producer = None
        await asyncio.sleep(_RETRY_SECONDS)

    async def _wait_for_revocation(self) -> None:
        """Another owner has the partition: do not fight for it, the group will tell us so.

        If it does not, the transaction had merely expired (this process was suspended, say), and
        the task goes on. To be fenced again soon after that means a rival.
        """
        log.warning("partition %d: fenced; waiting for the group's word", self._number)
        patience = self._settings.session_timeout
        again = time.monotonic() - self._fenced_at < 3 * patience
        await self._stand_back()
        await asyncio.sleep(patience)
        self._fenced_at = time.monotonic()
        if again:
            raise Problem(
                f"{self.partition.topic}[{self._number}] is taken over by another tracker while "
                "the group assigns it here; make sure no two groups use the namespace "
                f"{self._settings.namespace}, and start again"
            )

    def _wipe(self) -> None:
        if self._store is not None:
            self._store.wipe()

    async def _release(self) -> None:
        try:
            if self._producer is not None:
                await clients.abandon(self._producer)
        finally:
            if self._store is not None:
                self._store.close()

    @property
    def _number(self) -> int:
        return self.partition.partition

    @property
    def _directory(self) -> Path:
        return self._settings.data / self._settings.namespace / "track" / str(self._number)


def _by_code(letters: Sequence[Letter]) -> dict[str, list[Letter]]:
    found: dict[str, list[Letter]] = {}
    for one in letters:
        found.setdefault(one.letter.code, []).append(one)
    return found


def _labels(letter: Letter) -> tuple[str, ...]:
    provider = letter.provider or "unknown"
    return provider, letter.letter.code


def _mistake(error: Exception) -> str:
    where = calls(error).rpartition("\n")[2]
    return f"{type(error).__name__} at {where}: {error}; please report this"


def _words(error: BaseException) -> str:
    if isinstance(error, InvalidTimestampError):
        clock.doubt()
        return refused_time(clock.known())
    return str(error) or type(error).__name__


def patience_of(settings: Settings) -> Patience:
    """The settings' patience, in milliseconds."""
    return Patience(
        queued=_ms(settings.stalled_queued),
        sent=_ms(settings.stalled_sent),
        queued_by_channel={c: _ms(s) for c, s in settings.stalled_queued_by_channel.items()},
        sent_by_channel={c: _ms(s) for c, s in settings.stalled_sent_by_channel.items()},
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
