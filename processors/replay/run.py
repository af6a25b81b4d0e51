"""Running a replay: publish a range's observations again, under the replay's id.

A round is: read, normalise, send, check every acknowledgement, and only then record the progress. A
crash repeats a round, which is harmless. While one round is being sent, the next one is prepared.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from processors.normalising.accounts import UNCORRECTED, Corrections
from processors.normalising.body_normaliser import Bodies
from processors.replay import plan, raw_input
from processors.replay import progress as ledger
from processors.replay.plan import SLICE, Selection
from processors.replay.plan_counts import Counts
from processors.replay.progress import Ledger, Replay
from processors.runtime import consumer_groups, failpoints
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outbox
from schemas.coordinates import Partition
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.failures import diagnosed, right_missing
from service.settings import Settings

# A round has as many observations as the rate allows in this time, to avoid bursts.
_ROUND_SECONDS = 0.2
_LARGEST_ROUND = 5000
_CHECK_SECONDS = 0.5
_RECORD_SECONDS = 30

Behind = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Limits:
    """The rate in observations per second, and the largest lag of the tracker; 0: no limit."""

    rate: float
    backlog: int

    @property
    def round(self) -> int:
        """Return the number of observations of one round."""
        if not self.rate:
            return _LARGEST_ROUND
        return max(1, round(min(_LARGEST_ROUND, self.rate * _ROUND_SECONDS)))


@dataclass(slots=True)
class Progress:
    """The progress of a run. `waiting` is the tracker's lag while the run waits for it.

    `passed` of `total` offsets are behind it; an offset need not have a record.
    """

    total: int
    passed: int = 0
    counts: Counts = field(default_factory=Counts)
    waiting: int = 0


@dataclass(slots=True)
class _Round:
    outbox: Outbox
    observations: int = 0
    reached: dict[Partition, int] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


async def run(
    settings: Settings,
    replay: Replay,
    limits: Limits,
    on_progress: OnProgress,
    stop: asyncio.Event,
    *,
    corrections: Corrections = UNCORRECTED,
) -> Progress:
    """Run the rest of a replay, or as much as possible until `stop` is set.

    `corrections` are accounts of sources, permitted in addition to those at reception.

    After a return or an error, all acknowledged and recorded progress is final.
    """
    producer = clients.producer(settings)
    entered = bool(replay.reached)
    named = {"id": replay.id, "accounts": replay.spec.accounts is not None}
    try:
        await clock.ensure(settings)
        await producer.start()
        async with ledger.writing(settings, replay) as book, _behind(settings, limits) as behind:
            entered = True
            bodies = Bodies(settings, corrections)
            chosen = await plan.selection(settings, bodies, replay.spec)
            running = _Run(settings, replay, limits, on_progress, stop)
            done = await running.run(chosen, producer, book, behind)
    except (KafkaError, TimeoutError, OSError) as error:
        if not entered:
            raise await diagnosed(settings, error) from error
        denied = right_missing(settings, error)
        why = f"Kafka did not accept the observations ({type(error).__name__})"
        raise Problem(
            "replay_interrupted",
            why=str(denied or why),
            **named,
        ) from error
    except Problem as problem:
        # The tracker's lag and the reads raise it too if Kafka is unavailable.
        if not entered:
            raise
        raise Problem("replay_interrupted", why=str(problem), **named) from problem
    else:
        # A complete first run: there is nothing to resume.
        if not replay.reached and not stop.is_set():
            chosen.refuse_unknown_source()
        return done
    finally:
        await clients.abandon(producer)


@asynccontextmanager
async def _behind(settings: Settings, limits: Limits) -> AsyncIterator[Behind | None]:
    """Yield a function that returns the tracker's lag; None without a limit for it."""
    topics = settings.topics
    if not limits.backlog:
        yield None
        return
    group, inputs = topics.group("track"), [topics.observations]
    async with consumer_groups.watching(settings, inputs) as watch:
        yield partial(watch.lag, group, inputs)


class _Run:
    """One run; at most one round is being sent while another is prepared."""

    def __init__(
        self,
        settings: Settings,
        replay: Replay,
        limits: Limits,
        on_progress: OnProgress,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._replay = replay
        self._limits = limits
        self._on_progress = on_progress
        self._stop = stop
        self._bodies = Bodies(settings)
        self._spans = replay.left
        self._reached: dict[Partition, int] = {}
        self._progress = Progress(plan.size(self._spans))
        self._sending: asyncio.Task[None] | None = None
        self._since_pause = 0
        self._free_at = self._checked_at = time.monotonic()

    async def run(
        self,
        chosen: Selection,
        producer: AIOKafkaProducer,
        book: Ledger,
        behind: Behind | None,
    ) -> Progress:
        """Process the rest; return the progress."""
        source = raw_input.bodies(self._settings, self._replay.spec, self._spans)
        round_ = _Round(Outbox(producer, "replay.after_send"))
        try:
            async with aclosing(source):
                async for batch in source:
                    for record in batch.records:
                        self._add(record, chosen, round_)
                        if self._since_pause > SLICE:
                            self._since_pause = 0
                            await asyncio.sleep(0)
                        if round_.observations >= self._limits.round:
                            round_ = await self._dispatch(round_, producer, book, behind)
                            if self._stop.is_set():
                                return self._progress
                    round_.reached |= batch.reached
                    if self._stop.is_set():
                        break
            await self._dispatch(round_, producer, book, None)
            return self._progress
        finally:
            await self._finish_sending()

    def _add(self, record: RawRecord, chosen: Selection, round_: _Round) -> None:
        """Normalise one record and add its observations to the round."""
        progress = self._progress
        found = chosen.observations(record, progress.counts)
        replayed = [replace(observation, replay=self._replay.id) for observation in found]
        round_.outbox.put(self._bodies.observed(record, replayed, clock.now()))
        round_.observations += len(found)
        round_.reached[record.topic, record.partition] = record.offset + 1
        self._since_pause += 1 + len(found)

    async def _dispatch(
        self, round_: _Round, producer: AIOKafkaProducer, book: Ledger, behind: Behind | None
    ) -> _Round:
        """Send a round after the previous one is done, then wait until the next one may start."""
        await self._finish_sending()
        self._sending = asyncio.create_task(self._send(round_, book))
        self._reached |= round_.reached
        self._progress.passed = plan.passed(self._spans, self._reached)
        self._on_progress(self._progress)
        await self._pace(round_.observations)
        await self._wait_for_tracker(behind)
        return _Round(Outbox(producer, "replay.after_send"))

    async def _send(self, round_: _Round, book: Ledger) -> None:
        async with asyncio.timeout(self._settings.transaction_timeout):
            await round_.outbox.send()
        if round_.reached:
            failpoints.reach("replay.before_commit")
            async with asyncio.timeout(_RECORD_SECONDS):
                await book.record(round_.reached)

    async def _finish_sending(self) -> None:
        """Wait until the sent round is acknowledged and recorded; raise if it fails."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending

    async def _pace(self, observations: int) -> None:
        """Wait for the time that the rate gives to these observations."""
        if self._limits.rate:
            self._free_at = max(self._free_at, time.monotonic()) + observations / self._limits.rate
            await self._idle(self._free_at - time.monotonic())

    async def _wait_for_tracker(self, behind: Behind | None) -> None:
        """Wait while the tracker's lag exceeds the limit: live traffic comes first."""
        if behind is None or time.monotonic() - self._checked_at < _CHECK_SECONDS:
            return
        while (left := await behind()) > self._limits.backlog and not self._stop.is_set():
            self._progress.waiting = left
            self._on_progress(self._progress)
            await self._idle(_CHECK_SECONDS)
        self._progress.waiting = 0
        self._checked_at = time.monotonic()

    async def _idle(self, seconds: float) -> None:
        """Wait, or return at once if `stop` is set."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
