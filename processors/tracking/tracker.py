"""The tracker: one consumer, one task for each partition the group assigns to it."""

import asyncio
import logging
import time
from collections.abc import Iterable

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from processors.runtime import failpoints, metrics
from processors.runtime.alarms import Alarms
from processors.runtime.member_name import Identity, stored
from processors.tracking.batch_size import Polls
from processors.tracking.normaliser_watermark import NormaliserWatermark
from processors.tracking.partition_task import Task
from service.kafka import clients
from service.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS = 100
_SHORT_POLL_MS = 5
_RETRY_SECONDS = 1.0
# One fetch of a compressed backlog may hold 50 000: a transaction too long for its deadline.
_MOST_RECORDS = 4000
# And a record may be compressed a hundredfold: what a poll may hold, and how many come first.
_POLLED_BYTES = 8 * 1024 * 1024
_FIRST_POLL = 100


class Tracker(ConsumerRebalanceListener):
    """Polls for all tasks; the tasks do the work and report what cannot be mended."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: dict[TopicPartition, Task] = {}
        self._joined = False
        self._stopping = False
        self._trouble = ""
        self._alarms = Alarms(log)
        self._settled = NormaliserWatermark(settings)
        directory = settings.data / settings.namespace / "track"
        self._identity = None if settings.instance else Identity(directory)
        [topic] = settings.topics.inputs("track")
        self._consumer = clients.consumer(
            settings,
            settings.topics.group("track"),
            identity=self._identity.name if self._identity else None,
            on_disk=[(topic, number) for number in stored(directory)],
        )
        self._polls = Polls(most=_MOST_RECORDS, budget=_POLLED_BYTES, size=_FIRST_POLL)

    async def run(self, stop: asyncio.Event) -> None:
        """Track until `stop` is set; raises what made going on impossible."""
        poll = asyncio.create_task(self._poll())
        halt = asyncio.create_task(stop.wait())
        settling = asyncio.create_task(self._settled.watch())
        try:
            await asyncio.wait([poll, halt], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping = True
            await self._close_tasks()
            halt.cancel()
            poll.cancel()
            settling.cancel()
            await asyncio.wait([poll, settling])
            # A name in the settings is for planned restarts too, one in the directory for crashes.
            await clients.leave(self._consumer, for_good=self._identity is not None)
            if self._identity:
                self._identity.close()
        if not poll.cancelled():
            poll.result()

    def problems(self) -> list[str]:
        """Why the tracker is not ready; nothing if it is."""
        alarms = self._alarms.sentences(time.monotonic())
        if self._trouble:
            return [*alarms, self._trouble]
        if not self._joined:
            return [*alarms, "the consumer group has not assigned partitions yet"]
        tasks = self._tasks.items()
        waiting = sorted(tp.partition for tp, task in tasks if not (task.ready or task.stopped))
        return [*alarms, *([f"partitions not ready yet: {waiting}"] if waiting else [])]

    async def broker_topics(self) -> set[str]:
        """Ask the broker for its topics: the sign that it answers."""
        return set(await self._consumer.topics())

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """End each batch on its way, then let go; the group waits for this."""
        del revoked  # eager assignors take all
        if self._tasks:
            failpoints.reach("track.during_revoke")
        await self._close_tasks()
        self._joined = False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start a task for each; nothing is awaited, as no heartbeats are sent meanwhile."""
        if self._stopping:
            return
        partitions = sorted(assigned)
        self._consumer.pause(*partitions)
        for partition in partitions:
            self._tasks[partition] = Task(
                self._settings, self._consumer, partition, self._settled.until, self._alarms
            )
        self._joined = True
        metrics.partitions.set(len(partitions))
        log.info("assigned partitions %s", [tp.partition for tp in partitions])

    async def _poll(self) -> None:
        self._consumer.subscribe(list(self._settings.topics.inputs("track")), listener=self)
        await clients.join(self._consumer)
        while True:
            try:
                await self._feed()
                self._trouble = ""
            except OffsetOutOfRangeError as error:
                await self._stop_overtaken(error.args[0])
            except KafkaError as error:
                self._trouble = f"polling fails: {error}"
                log.warning("%s; trying again", self._trouble)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _feed(self) -> None:
        """Poll once for the tasks that can take more."""
        self._alarms.remind(time.monotonic())
        inputs = self._settings.topics.inputs("track")
        clients.refuse_repartitioned(self._consumer, inputs, self._settings.partitions)
        hungry = {tp: task.epoch for tp, task in self._tasks.items() if task.hungry}
        # A poll waits for those it asked for alone, whatever is there for one that is hungry soon.
        sated = any(task.ready and not task.hungry for task in self._tasks.values())
        wait = _SHORT_POLL_MS if sated else _POLL_MS
        if not hungry:
            clients.check(self._consumer)
            await asyncio.sleep(wait / 1000)
            return
        # Never under wait_for: a cancelled getmany breaks aiokafka's idle accounting.
        polled = await self._consumer.getmany(
            *hungry, timeout_ms=wait, max_records=self._polls.size
        )
        records = [record for one in polled.values() for record in one]
        self._polls = self._polls.after(len(records), sum(len(r.value or b"") for r in records))
        for partition, records in polled.items():
            # The poll may have begun for a task that is gone, and taken what is its successor's.
            if task := self._tasks.get(partition):
                task.feed(records, hungry[partition])

    async def _stop_overtaken(self, offsets: dict[TopicPartition, int]) -> None:
        """Stop the partitions whose log no longer holds what is to be read next."""
        for partition, offset in offsets.items():
            self._consumer.pause(partition)
            problem = await clients.overtaken(self._consumer, partition, offset)
            if task := self._tasks.get(partition):
                task.stop(problem)

    async def _close_tasks(self) -> None:
        tasks, self._tasks = list(self._tasks.values()), {}
        metrics.partitions.set(0)
        await asyncio.gather(*(task.close() for task in tasks))
