"""Running a replay: publish a range's observations again, under the replay's id.

A round is: read, normalise, send, see every acknowledgement, and only then record the progress. A
crash repeats a round, which is harmless. While one round is on its way the next one is made.
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
from processors.replay.facts import Counts
from processors.replay.plan import SLICE, Selection
from processors.replay.progress import Ledger, Replay
from processors.runtime import consumer_groups, failpoints
from processors.runtime.raw_record import RawRecord
from processors.runtime.record_batches import Outbox
from schemas.coordinates import Partition
from service.errors import Problem, unreachable
from service.kafka import clients
from service.kafka.clock import clock
from service.settings import Settings

# A round is as much as the rate allows in this time, so that it flows rather than bursts.
_ROUND_SECONDS = 0.2
_LARGEST_ROUND = 5000
_LOOK_SECONDS = 0.5
_RECORD_SECONDS = 30

Behind = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Limits:
    """How fast: observations a second, and how far the tracker may be behind; 0: no limit."""

    rate: float
    backlog: int

    @property
    def round(self) -> int:
        """The observations of one round."""
        if not self.rate:
            return _LARGEST_ROUND
        return max(1, round(min(_LARGEST_ROUND, self.rate * _ROUND_SECONDS)))


@dataclass(slots=True)
class Progress:
    """How far a run is. `waiting` is how far the tracker is behind, while that is waited for."""

    total: int
    records: int = 0
    counts: Counts = field(default_factory=Counts)
    waiting: int = 0


@dataclass(slots=True)
class _Round:
    outbox: Outbox
    observations: int = 0
    reached: dict[Partition, int] = field(default_factory=dict)


Tell = Callable[[Progress], None]


async def run(
    settings: Settings,
    replay: Replay,
    limits: Limits,
    tell: Tell,
    stop: asyncio.Event,
    *,
    corrections: Corrections = UNCORRECTED,
) -> Progress:
    """Do what is left of a replay, or as much as there is time for until `stop` is set.

    `corrections` are accounts of sources, permitted beside those at reception.

    Whatever it returns or raises, all that was acknowledged and recorded is done for good.
    """
    producer = clients.producer(settings)
    entered = bool(replay.reached)
    go_on = f"what is done is recorded: go on with: {replay.command}"
    try:
        await clock.ensure(settings)
        await producer.start()
        async with ledger.writing(settings, replay) as book, _behind(settings, limits) as behind:
            entered = True
            bodies = Bodies(settings, corrections)
            chosen = await plan.selection(settings, bodies, replay.spec)
            running = _Run(settings, replay, limits, tell, stop)
            done = await running.run(chosen, producer, book, behind)
    except (KafkaError, TimeoutError, OSError) as error:
        if not entered:
            raise unreachable(settings.kafka, error) from error
        raise Problem(
            f"Kafka did not take what was replayed ({type(error).__name__}); {go_on}"
        ) from error
    except Problem as problem:
        # What watches the tracker and what reads say so of a Kafka that is away.
        if not entered:
            raise
        raise Problem(f"{problem}; {go_on}") from problem
    else:
        # Nothing broke off here: there is nothing to go on with.
        if not replay.reached and not stop.is_set():
            chosen.refuse_unheard()
        return done
    finally:
        await clients.abandon(producer)


@asynccontextmanager
async def _behind(settings: Settings, limits: Limits) -> AsyncIterator[Behind | None]:
    """How to ask how far the tracker is behind; None if nobody wants to know."""
    topics = settings.topics
    if not limits.backlog:
        yield None
        return
    group, inputs = topics.group("track"), [topics.observations]
    async with consumer_groups.watching(settings, inputs) as watch:
        yield partial(watch.lag, group, inputs)


class _Run:
    """One run; at most one round is on its way while another is made."""

    def __init__(
        self, settings: Settings, replay: Replay, limits: Limits, tell: Tell, stop: asyncio.Event
    ) -> None:
        self._settings = settings
        self._replay = replay
        self._limits = limits
        self._tell = tell
        self._stop = stop
        self._bodies = Bodies(settings)
        self._progress = Progress(plan.size(replay.left))
        self._sending: asyncio.Task[None] | None = None
        self._since_pause = 0
        self._free_at = self._looked_at = time.monotonic()

    async def run(
        self,
        chosen: Selection,
        producer: AIOKafkaProducer,
        book: Ledger,
        behind: Behind | None,
    ) -> Progress:
        """Do what is left; what came of it."""
        source = raw_input.bodies(self._settings, self._replay.spec, self._replay.left)
        made = _Round(Outbox(producer, "replay.after_send"))
        try:
            async with aclosing(source):
                async for batch in source:
                    for record in batch.records:
                        self._take(record, chosen, made)
                        if self._since_pause > SLICE:
                            self._since_pause = 0
                            await asyncio.sleep(0)
                        if made.observations >= self._limits.round:
                            made = await self._turn(made, producer, book, behind)
                            if self._stop.is_set():
                                return self._progress
                    made.reached |= batch.reached
                    if self._stop.is_set():
                        break
            await self._turn(made, producer, book, None)
            return self._progress
        finally:
            await self._landed()

    def _take(self, record: RawRecord, chosen: Selection, made: _Round) -> None:
        """Normalise one record into the round under way."""
        progress = self._progress
        found = chosen.observations(record, progress.counts)
        told = [replace(observation, replay=self._replay.id) for observation in found]
        made.outbox.put(self._bodies.observed(record, told, clock.now()))
        made.observations += len(found)
        made.reached[record.topic, record.partition] = record.offset + 1
        progress.records += 1
        self._since_pause += 1 + len(found)

    async def _turn(
        self, made: _Round, producer: AIOKafkaProducer, book: Ledger, behind: Behind | None
    ) -> _Round:
        """Send a round once the one before has landed, and wait until there may be another."""
        await self._landed()
        self._sending = asyncio.create_task(self._send(made, book))
        self._tell(self._progress)
        await self._pace(made.observations)
        await self._let_through(behind)
        return _Round(Outbox(producer, "replay.after_send"))

    async def _send(self, made: _Round, book: Ledger) -> None:
        async with asyncio.timeout(self._settings.transaction_timeout):
            await made.outbox.send()
        if made.reached:
            failpoints.reach("replay.before_commit")
            async with asyncio.timeout(_RECORD_SECONDS):
                await book.record(made.reached)

    async def _landed(self) -> None:
        """See the round on its way acknowledged and recorded; raises if it was not."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending

    async def _pace(self, observations: int) -> None:
        """Wait as long as so many observations may take."""
        if self._limits.rate:
            self._free_at = max(self._free_at, time.monotonic()) + observations / self._limits.rate
            await self._idle(self._free_at - time.monotonic())

    async def _let_through(self, behind: Behind | None) -> None:
        """While the tracker is far behind, leave it to the live traffic."""
        if behind is None or time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        while (left := await behind()) > self._limits.backlog and not self._stop.is_set():
            self._progress.waiting = left
            self._tell(self._progress)
            await self._idle(_LOOK_SECONDS)
        self._progress.waiting = 0
        self._looked_at = time.monotonic()

    async def _idle(self, seconds: float) -> None:
        """Wait, but not on if it is time to stop."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
