"""The loader: reads the topics at read_committed and writes the read model, batch by batch.

The offsets are in the same transaction as the rows, and a batch that follows on other offsets than
it was read from is refused: a crash, or a second loader, neither loses nor doubles anything. The
group's offsets on Kafka only show the lag to other programs.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from sqlalchemy.exc import SQLAlchemyError

from console.read_model import changes as records
from console.read_model.changes import Changes
from console.read_model.database import Database
from console.read_model.loading import positions
from console.read_model.loading.lock import locked
from console.read_model.loading.positions import Log, Start
from console.read_model.loading.retention import sweep
from console.read_model.queries.overview import LOADED
from console.read_model.write import Move, MovedError, write
from schemas.coordinates import Partition
from schemas.topics import Topics
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.failures import diagnosed
from service.logger import logger
from service.settings import Settings

_log = logger(__name__)

_BATCH = 100_000
_POLLED = 20_000
_POLL_MS = 200
_RETRY_SECONDS = 1.0
_ENDS_SECONDS = 1.0
_SWEEP_SECONDS = 60.0
_COMMIT_SECONDS = 5.0
_DAY_MS = 24 * 3_600_000

OnProgress = Callable[[int, int], None]
"""Receives how many offsets of the first load are read, and how many there are."""


def kinds(topics: Topics) -> dict[str, str]:
    """Return the topics that the read model is made of, with the kind of their records."""
    return {f"{topics.namespace}.{kind}": kind for kind in records.KINDS}


class _Batch(NamedTuple):
    """Records as changes, and the offsets up to which they were read."""

    changes: Changes
    moves: dict[Partition, Move]


class Loader:
    """Keeps one read model up to date with one namespace.

    `problem` says why it does not, "" while it does; `loaded` whether the first load has ended.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        progress: OnProgress = lambda _read, _all: None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._progress = progress
        self._kinds = kinds(settings.topics)
        self._at: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._due: dict[str, float] = {}
        self.problem = "the read model is not open yet"
        self.opened = self.loaded = False

    async def run(self, stop: asyncio.Event) -> None:
        """Load until `stop` is set; errors of Kafka and of the database are retried.

        Raises `Problem` if the database and the topics do not belong together.
        """
        await self._retried(stop, until_loaded=False)

    async def rebuild(self, stop: asyncio.Event) -> None:
        """Drop everything, and load up to the present ends of the topics.

        Raises `Problem` if another process is loading into the same database.
        """
        with locked(self._database) as mine:
            if not mine:
                raise Problem("console_loaded_elsewhere")
            await asyncio.to_thread(self._database.clear)
        await self._retried(stop, until_loaded=True)

    async def _retried(self, stop: asyncio.Event, *, until_loaded: bool) -> None:
        while not stop.is_set():
            try:
                await self._run(stop, until_loaded=until_loaded)
            except (KafkaError, TimeoutError, OSError) as error:
                self.problem = str(await diagnosed(self._settings, error))
            except MovedError:
                self.problem = "another process has written the read model"
            except SQLAlchemyError as error:
                self.problem = f"the database failed: {type(error).__name__}"
            else:
                return
            _log.warning("console_load_failed", reason=self.problem, seconds=_RETRY_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_SECONDS)

    async def _run(self, stop: asyncio.Event, *, until_loaded: bool) -> None:
        with ExitStack() as held:
            while not held.enter_context(locked(self._database)):
                held.close()
                self.problem = ""
                self.opened = self.loaded = True  # by the other process
                if stop.is_set():
                    return
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.to_thread(self._database.create)
            client = clients.consumer(self._settings, self._settings.topics.group("console"))
            try:
                await self._load(client, stop, until_loaded=until_loaded)
            finally:
                await clients.leave(client)

    async def _load(
        self, client: AIOKafkaConsumer, stop: asyncio.Event, *, until_loaded: bool
    ) -> None:
        await client.start()
        await self._assign(client)
        self.loaded = self._database.value(LOADED) is not None
        self.opened, self.problem = True, ""
        begin, target = dict(self._at), dict(self._ends)
        size = sum(target[place] - begin[place] for place in target)
        while not (stop.is_set() or (self.loaded and until_loaded)):
            batch = await self._gather(client, stop)
            if batch.moves:
                # Not beside the next batch: threads that both compute delay each other.
                await self._write(batch)
            await self._look(client)
            self._progress(sum(self._at[one] - begin[one] for one in begin), size)
            if not self.loaded and all(self._at[one] >= end for one, end in target.items()):
                await self._finish_load()

    async def _finish_load(self) -> None:
        await asyncio.to_thread(self._database.create_indexes)
        with self._database.writing() as connection:
            self._database.note(connection, LOADED, str(clock.now()))
        self.loaded = True
        _log.info("console_loaded", namespace=self._settings.namespace)

    async def _assign(self, client: AIOKafkaConsumer) -> None:
        numbers = range(self._settings.partitions)
        places = [TopicPartition(topic, number) for topic in self._kinds for number in numbers]
        client.assign(places)
        begins = await client.beginning_offsets(places)
        self._ends = dict(await client.end_offsets(places))
        logs = {(one.topic, one.partition): Log(begins[one], self._ends[one]) for one in places}
        found = await asyncio.to_thread(self._starts, logs)
        for one in places:
            start = found[one.topic, one.partition]
            self._at[one] = start.offset
            client.seek(one, start.offset)
            if start.skipped:
                _log.warning(
                    "console_skipped",
                    topic=one.topic,
                    partition=one.partition,
                    records=start.skipped,
                )

    def _starts(self, logs: Mapping[Partition, Log]) -> dict[Partition, Start]:
        with self._database.writing() as connection:
            found = positions.starts(positions.known(connection), logs)
            if found is None:
                raise Problem("console_of_other_topics", namespace=self._settings.namespace)
            positions.keep(connection, found, logs, clock.now())
        return found

    async def _gather(self, client: AIOKafkaConsumer, stop: asyncio.Event) -> _Batch:
        """Read what there is: many polls during the first load, and one poll later."""
        changes, count = Changes(), 0
        while not stop.is_set():
            try:
                polled = await client.getmany(timeout_ms=_POLL_MS, max_records=_POLLED)
            except OffsetOutOfRangeError as error:
                raise TimeoutError from error  # begin again, at what the log holds now
            for place, found in polled.items():
                records.add(changes, self._kinds[place.topic], found)
                count += len(found)
                await asyncio.sleep(0)
            if self.loaded or not polled or count >= _BATCH:
                break
        if changes.unreadable:
            _log.error("console_unreadable", records=changes.unreadable)
        return _Batch(changes, await self._moves(client))

    async def _moves(self, client: AIOKafkaConsumer) -> dict[Partition, Move]:
        """Return which positions have moved; compaction and markers leave gaps in the offsets."""
        moves = {}
        for place, before in self._at.items():
            after = await client.position(place)
            if after != before:
                end = max(after, self._ends[place])
                moves[place.topic, place.partition] = Move(before, after, end)
        return moves

    async def _write(self, batch: _Batch) -> None:
        await asyncio.to_thread(write, self._database, batch.changes, batch.moves, clock.now())
        self._at |= {TopicPartition(*at): move.after for at, move in batch.moves.items()}

    async def _look(self, client: AIOKafkaConsumer) -> None:
        """Do what is due from time to time: ask for the ends, show the lag, drop what is old."""
        if self._is_due("ends", _ENDS_SECONDS):
            self._ends = dict(await client.end_offsets(list(self._at)))
        if self._is_due("commit", _COMMIT_SECONDS):
            with suppress(KafkaError):  # only other programs read them
                await client.commit(self._at)
        if self.loaded and self._is_due("sweep", _SWEEP_SECONDS):
            before = clock.now() - round(self._settings.console_retention * _DAY_MS)
            await asyncio.to_thread(sweep, self._database, before)

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0):
            return False
        self._due[what] = now + seconds
        return True
