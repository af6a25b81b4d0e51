"""The poll loop of a consumer-group member: every processor runs on it.

It joins the group, pauses the assigned partitions, polls, refuses a changed partition count,
reports offsets that the log no longer holds, repeats failed rounds, reports health, and stops. The
processor's `Member` processes the records. The worker calls it from one task, except `assigned` and
`revoked`: the rebalance calls these while a round may be under way.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from processors.runtime import metrics
from processors.runtime.alarms import Alarms
from processors.runtime.member_name import Identity, stored
from processors.runtime.partition_watch import PartitionWatch, Progress
from processors.runtime.record_batches import UnsentError
from schemas.processor_list import Processor
from service.background_tasks import lasting
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.failures import reporter, right_missing
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

Polled = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]

_RETRY_SECONDS = 1.0
# How long a round under way may take to end after a stop is requested.
_FINISH_SECONDS = 5.0


class Poll(NamedTuple):
    """The partitions to poll and the time to wait; without partitions it only waits."""

    partitions: Collection[TopicPartition]
    wait_ms: int
    max_records: int


class Member(Protocol):
    """The work of a processor as a member of its group.

    A round is `next_poll`, the poll, `records`. One that raises `KafkaError`, `TimeoutError`,
    `OSError` or `UnsentError` is repeated after a pause; any other error ends the worker.
    """

    def start(self) -> None:
        """Start the background tasks, which run as long as the worker."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Accept paused partitions. No heartbeat is sent until this returns."""

    async def revoked(self) -> None:
        """Release all partitions; the group waits for this."""

    async def next_poll(self) -> Poll:
        """Return the next poll."""

    async def records(self, polled: Polled) -> bool:
        """Process the polled records, if any; return whether an earlier failure is over."""

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None:
        """Stop a partition, now paused, whose log no longer holds the next offset."""

    def failed(self, error: Exception) -> str:
        """Log why a round failed; return the sentence for health."""

    async def start_over(self) -> None:
        """Return to the committed offsets after a failed round."""

    def waiting(self) -> Iterable[TopicPartition]:
        """Return the assigned partitions that are not ready yet."""

    def progress(self) -> Progress:
        """Return what is processed of each partition; others have the lag of the group."""
        return {}

    def sample(self) -> None:
        """Set the gauges of the processor's own; called each second."""

    async def close(self) -> None:
        """Release all resources while still a member; no round is under way."""


MakeMember = Callable[[Settings, AIOKafkaConsumer, Alarms], Member]


class GroupWorker(ConsumerRebalanceListener):
    """One consumer of a processor's group, and the processor's member that uses it."""

    def __init__(self, processor: Processor, settings: Settings, make: MakeMember) -> None:
        self._settings = settings
        self._inputs = settings.topics.inputs(processor.name)
        directory = settings.stores / processor.name
        keeps_name = processor.keeps_state and not settings.instance
        self._identity = Identity(directory) if keeps_name else None
        on_disk = stored(directory) if processor.keeps_state else []
        self._consumer = clients.consumer(
            settings,
            settings.topics.group(processor.name),
            identity=self._identity.name if self._identity else None,
            on_disk=[(topic, number) for topic in self._inputs for number in on_disk],
        )
        self._alarms = Alarms(log)
        self._stopping = asyncio.Event()
        self._joined = False
        self.started = False
        """Whether it has joined its group, at any time since the start."""
        self._trouble = ""
        self._member = make(settings, self._consumer, self._alarms)
        self._watch = PartitionWatch(settings, self._consumer, self._member, self._alarms)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; raise the error that makes it impossible to continue."""
        self._member.start()
        watching = lasting("the metrics of partitions", self._watch.run)
        loop = asyncio.create_task(self._loop())
        halt = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([loop, halt], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A round that is cut off is repeated by the next owner of its partitions.
            self._stopping.set()
            await asyncio.wait([loop], timeout=_FINISH_SECONDS)
            loop.cancel()
            halt.cancel()
            watching.cancel()
            await asyncio.wait([loop, watching])
            await self._close()
        if not loop.cancelled():
            loop.result()

    def problems(self) -> list[str]:
        """Return the reasons why the worker is not ready; [] if it is."""
        alarms = self._alarms.sentences(time.monotonic())
        if self._trouble:
            return [*alarms, self._trouble]
        if not self._joined:
            return [*alarms, self._unassigned]
        if waiting := sorted({partition.partition for partition in self._member.waiting()}):
            return [*alarms, f"partitions not ready yet: {waiting}"]
        return alarms

    @property
    def _unassigned(self) -> str:
        return (
            "the consumer group has not assigned partitions yet; if a worker was killed before, "
            f"Kafka waits for it for up to {self._settings.session_timeout:g} s "
            "(BLUETICK_SESSION_TIMEOUT)"
        )

    async def existing(self, topics: Collection[str]) -> set[str]:
        """Ask a broker which of the topics exist, to see whether it answers."""
        return await clients.existing(self._consumer, topics)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let the member release all partitions: the assignor is eager."""
        del revoked
        await self._member.revoked()
        self._watch.assign([])
        self._joined = False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause the partitions and pass them to the member."""
        if self._stopping.is_set():
            return
        partitions = sorted(assigned)
        self._consumer.pause(*partitions)
        self._member.assigned(partitions)
        self._joined = self.started = True
        self._watch.assign(partitions)
        metrics.rebalances.inc()
        metrics.last_rebalance.set(clock.now() / 1000)

    async def _loop(self) -> None:
        self._consumer.subscribe(list(self._inputs), listener=self)
        await clients.join(self._settings, self._consumer)
        while not self._stopping.is_set():
            await self._round()

    async def _round(self) -> None:
        clients.refuse_repartitioned(self._consumer, self._inputs, self._settings.partitions)
        self._alarms.remind(time.monotonic())
        try:
            if await self._member.records(await self._poll(await self._member.next_poll())):
                self._trouble = ""
        except OffsetOutOfRangeError as error:
            await self._report_overtaken(error.args[0])
        except (UnsentError, KafkaError, TimeoutError, OSError) as error:
            denied = right_missing(self._settings, error)
            if denied:
                reporter.refused(denied)
            self._trouble = self._member.failed(denied or error)
            await self._member.start_over()
            await self._pause()

    async def _poll(self, poll: Poll) -> Polled:
        if poll.partitions:
            # Never under wait_for: a cancelled getmany breaks aiokafka's idle accounting.
            polled: Polled = await self._consumer.getmany(
                *poll.partitions, timeout_ms=poll.wait_ms, max_records=poll.max_records
            )
            return polled
        if poll.wait_ms:
            clients.check(self._consumer)
            await asyncio.sleep(poll.wait_ms / 1000)
        return {}

    async def _report_overtaken(self, offsets: Mapping[TopicPartition, int]) -> None:
        for partition, offset in offsets.items():
            if partition in self._consumer.assignment():
                self._consumer.pause(partition)
            problem = await clients.overtaken(self._consumer, partition, offset)
            self._member.overtaken(partition, problem)

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_RETRY_SECONDS):
                await self._stopping.wait()

    async def _close(self) -> None:
        await self._member.close()
        self._watch.assign([])
        # A name from the settings outlives planned restarts, one from the directory only crashes.
        await clients.leave(self._consumer, for_good=self._identity is not None)
        if self._identity:
            self._identity.close()
