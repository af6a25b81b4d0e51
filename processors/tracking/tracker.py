"""The tracker: one task for each partition that the group assigns to its member."""

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime.alarms import Alarms
from processors.runtime.exactly_once.metrics import sample_times
from processors.runtime.exactly_once.partition_store import CorruptError
from processors.runtime.exactly_once.task_member import TaskMember
from processors.tracking import metrics
from processors.tracking.normaliser_watermark import NormaliserWatermark
from processors.tracking.partition_task import Task
from schemas.processor_list import TRACK
from service.errors import Problem
from service.kafka.clock import clock
from service.settings import Settings


class Tracker(TaskMember[Task]):
    """The tasks of track, and the watermark that their timers wait for."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        super().__init__(settings, consumer, alarms, TRACK.name)
        self._watermark = NormaliserWatermark(settings, alarms)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watching = asyncio.create_task(self._watermark.watch())

    def sample(self) -> None:
        """Set the gauges of the stores, and those that grow with the time."""
        sample_times()
        stores = [task.store for task in self._tasks.values() if task.store is not None]
        with contextlib.suppress(CorruptError, Problem):  # the task meets the error, too
            metrics.note_stores(stores, clock.now() - round(self._settings.timer_grace * 1000))

    async def close(self) -> None:
        await super().close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    def _task(self, partition: TopicPartition) -> Task:
        return Task(
            self._settings,
            self._consumer,
            partition,
            self._alarms,
            turns=self._turns,
            watermark=self._watermark.until,
        )
