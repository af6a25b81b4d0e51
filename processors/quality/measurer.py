"""The measurer: one task for each partition that the group assigns to its member."""

import contextlib

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.quality.partition_tasks import ChangesTask, MeasuringTask, MessagesTask
from processors.runtime.alarms import Alarms
from processors.runtime.exactly_once.metrics import sample_times, store_bytes
from processors.runtime.exactly_once.partition_store import CorruptError
from processors.runtime.exactly_once.task_member import TaskMember
from schemas.processor_list import MEASURE
from service.errors import Problem
from service.settings import Settings


class Measurer(TaskMember[MeasuringTask]):
    """The tasks of measure."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        super().__init__(settings, consumer, alarms, MEASURE.name)

    def sample(self) -> None:
        """Set the gauges of the stores, and those that grow with the time."""
        sample_times()
        stores = [task.store for task in self._tasks.values() if task.store is not None]
        with contextlib.suppress(CorruptError, Problem):  # the task meets the error, too
            store_bytes.set(sum(store.size for store in stores))

    def _task(self, partition: TopicPartition) -> MeasuringTask:
        own = partition.topic == self._settings.topics.quality_changes
        make = ChangesTask if own else MessagesTask
        return make(self._settings, self._consumer, partition, self._alarms, turns=self._turns)
