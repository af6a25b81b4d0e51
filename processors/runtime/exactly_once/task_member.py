"""A member of a group with one task for each assigned partition: it polls for all of them."""

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime import failpoints
from processors.runtime.alarms import Alarms
from processors.runtime.batch_size import Polls
from processors.runtime.cpu_budget import Turns
from processors.runtime.exactly_once.partition_task import PartitionTask
from processors.runtime.group_worker import Member, Poll, Polled
from processors.runtime.partition_watch import Progress
from service.errors import Problem, reason
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_POLL_MS = 100
_SHORT_POLL_MS = 5
# One fetch of a compressed backlog may hold 50 000: a transaction too long for its deadline.
_MOST_RECORDS = 4000
# Records may be compressed a hundredfold: the bytes of a poll, and the size of the first one.
_POLLED_BYTES = 8 * 1024 * 1024
_FIRST_POLL = 100

T = TypeVar("T", bound=PartitionTask[Any, Any, Any])


class TaskMember(Member, Generic[T]):
    """Polls for all tasks, which do the work and report errors that a repetition does not fix.

    A processor's member is a subclass: `_task` makes the task of a partition.
    """

    def __init__(
        self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms, name: str
    ) -> None:
        """`name` is that of the processor."""
        self._settings = settings
        self._consumer = consumer
        self._alarms = alarms
        self._turns = Turns()
        self._name = name
        self._tasks: dict[TopicPartition, T] = {}
        # The epochs of the tasks that the poll under way is for.
        self._polled_for: dict[TopicPartition, int] = {}
        self._polls = Polls(most=_MOST_RECORDS, budget=_POLLED_BYTES, size=_FIRST_POLL)

    @abstractmethod
    def _task(self, partition: TopicPartition) -> T:
        """Return a new task, which begins at once."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Start a task for each."""
        for partition in partitions:
            self._tasks[partition] = self._task(partition)
        numbers = [tp.partition for tp in partitions]
        sentence = f"assigned partitions {_by_topic(partitions)}"
        log.info("partitions_assigned", message=sentence, count=len(numbers), partitions=numbers)

    async def revoked(self) -> None:
        """Finish each batch under way, then release the partitions."""
        if self._tasks:
            failpoints.reach(f"{self._name}.during_revoke")
        await self._close_tasks()

    async def next_poll(self) -> Poll:
        """Poll for the tasks that can accept more records."""
        tasks = self._tasks.values()
        self._polled_for = {task.partition: task.epoch for task in tasks if task.accepts_records}
        # A poll waits for its own partitions only, not for a task that can accept records soon.
        busy = any(task.ready and not task.accepts_records for task in tasks)
        return Poll(self._polled_for, _SHORT_POLL_MS if busy else _POLL_MS, self._polls.size)

    async def records(self, polled: Polled) -> bool:
        """Pass the records to the tasks."""
        if self._polled_for:
            records = [record for one in polled.values() for record in one]
            size = sum(len(record.value or b"") for record in records)
            self._polls = self._polls.after(len(records), size)
        for partition, found in polled.items():
            # The poll may have begun for an earlier task, and have records of the next task.
            if task := self._tasks.get(partition):
                task.feed(found, self._polled_for[partition])
        return True

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        if task := self._tasks.get(partition):
            task.stop(problem)

    def failed(self, error: Exception) -> str:
        trouble = f"polling fails: {reason(error)}"
        log.warning("poll_failed", reason=trouble)
        return trouble

    async def start_over(self) -> None:
        """Poll again: each task recovers by itself."""

    def waiting(self) -> Iterable[TopicPartition]:
        return [tp for tp, task in self._tasks.items() if not (task.ready or task.stopped)]

    def progress(self) -> Progress:
        known = ((partition, task.progress) for partition, task in self._tasks.items())
        return {partition: progress for partition, progress in known if progress is not None}

    async def close(self) -> None:
        await self._close_tasks()

    async def _close_tasks(self) -> None:
        tasks, self._tasks = list(self._tasks.values()), {}
        await asyncio.gather(*(task.close() for task in tasks))


def _by_topic(partitions: Iterable[TopicPartition]) -> str:
    numbers: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        numbers.setdefault(topic, []).append(number)
    return ", ".join(f"{found} of {topic}" for topic, found in numbers.items()) or "[]"
