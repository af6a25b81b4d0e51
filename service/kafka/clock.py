"""Kafka's time in this process: compared at the start and every minute, kept in between.

A record is written to the topic `clocks`, to which the broker gives its own time (LogAppendTime),
and the answer says which (decision 21). From then on Kafka's time is that one plus the time that
has passed since, which no change of this machine's clock touches.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    LeaderNotAvailableError,
    NoError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from schemas.webhook import Uptime
from service.errors import missing
from service.kafka import clock_offset
from service.kafka.clock_offset import Estimate, Said, Sample
from service.settings import Settings
from service.wall_clock import now_ms

EVERY_SECONDS = 60.0
RETRY_SECONDS = 1.0  # after silence
_LASTING_SECONDS = 5.0  # where the topic or a right is missing
# What waits for a comparison waits so long for it; at the end; one request of it.
_PATIENCE_SECONDS = 2.0
_REST_SECONDS = 0.5
_SILENT_SECONDS = 60.0
_REQUEST_MS = 1500
_TRIES = 10
_AGAIN_SECONDS = 0.1
_SAMPLES = 3
_BATCH_BYTES = 1024

# The wall clock is looked at so often. It was set if it then differs by so much from what it should
# show; or the machine slept, and its other clock did not.
_LOOK_SECONDS = 1.0
_JUMP_SECONDS = 0.5

# Counts what a machine sleeps, where the system has such a clock.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger(__name__)


class KafkaTime:
    """The clock that services stamp records and judge timers by; one a process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing, as at the start of a process."""
        self._estimate: Estimate | None = None
        self._offset = 0.0  # seconds, when it was estimated
        self._reason = ""  # why the clocks cannot be compared
        self._lasting = False  # until the topic or the rights are changed
        self._began = self._tried = -math.inf  # trying, and the last try that failed
        self._said: Said | None = None
        self._doubted = False
        self._comparing: asyncio.Task[None] | None = None

    def now(self) -> int:
        """Kafka's time in Unix milliseconds; this machine's until it was compared."""
        return now_ms() if self._estimate is None else self._estimate.at(uptime())

    @property
    def compared(self) -> bool:
        return self._estimate is not None

    @property
    def certain(self) -> bool:
        """Whether `now` is as good as it gets: compared, or not comparable for some time."""
        return self.compared or bool(self._reason)

    @property
    def decided(self) -> bool:
        """Whether it is compared, or cannot be with the topic and rights as they are."""
        return self.compared or self._lasting

    @property
    def offset(self) -> float | None:
        """By how many seconds this machine's clock is ahead of Kafka's now; None if unknown."""
        return None if self._estimate is None else self._estimate.offset(now_ms(), uptime())

    @property
    def problem(self) -> str | None:
        """Why a service is not ready by its clock, in one sentence; None if it is."""
        offset = self.offset
        if offset is None or clock_offset.judge(offset, self._bound) != "unready":
            return None
        return clock_offset.wrong(offset, self._bound)

    def known(self) -> str:
        """What is known of this machine's clock, in words."""
        offset = self.offset
        if offset is None:
            return clock_offset.not_compared(self._reason or "Kafka has not said its time yet")
        if clock_offset.judge(offset, self._bound) == "right":
            return f"{clock_offset.difference(offset, self._bound)}; compare the brokers' clocks"
        return clock_offset.wrong(offset, self._bound)

    def doubt(self) -> None:
        """Compare soon: Kafka has refused a time."""
        self._doubted = True

    async def compare(self, settings: Settings) -> None:
        """Compare now, within seconds; without an answer all stays as it is.

        A comparison that takes longer goes on: cut off, aiokafka would leave a connection open.
        """
        if self._comparing is None or self._comparing.done():
            self._comparing = asyncio.create_task(self._compare(settings))
        await asyncio.wait([self._comparing], timeout=_PATIENCE_SECONDS)

    async def rest(self) -> None:
        """Let a comparison under way end, but not for long."""
        if self._comparing is not None and not self._comparing.done():
            await asyncio.wait([self._comparing], timeout=_REST_SECONDS)

    async def ensure(self, settings: Settings) -> None:
        """Compare if that was not done, can be, and did not fail just now."""
        lately = time.monotonic() - self._tried < RETRY_SECONDS
        if not (self.decided or lately):
            await self.compare(settings)

    async def keep(self, settings: Settings, note: Callable[[float], None]) -> None:
        """Compare again and again until cancelled; `note` gets the offset, NaN if unknown."""
        due = time.monotonic() + self._pause()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._doubted or self._jumped() or time.monotonic() >= due:
                self._doubted = False
                await self.compare(settings)
                due = time.monotonic() + self._pause()
            self._say()
            note(float("nan") if self.offset is None else self.offset)

    @property
    def _bound(self) -> float:
        return 0.0 if self._estimate is None else self._estimate.bound / 1000

    def _pause(self) -> float:
        if self._lasting:
            return _LASTING_SECONDS
        return EVERY_SECONDS if self.compared else RETRY_SECONDS

    def _jumped(self) -> bool:
        offset = self.offset
        return offset is not None and abs(offset - self._offset) > _JUMP_SECONDS

    async def _compare(self, settings: Settings) -> None:
        if self._began == -math.inf:
            self._began = time.monotonic()
        try:
            self._take(clock_offset.estimate(await _soon(settings)))
        except _IncomparableError as error:
            self._give_up(str(error), lasting=True)
        except Exception as error:  # noqa: BLE001 - a service goes on whatever its clock does
            self._miss(error)
        self._say()

    def _take(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self._offset = estimate.offset(now_ms(), uptime())
        self._reason, self._lasting = "", False

    def _miss(self, error: Exception) -> None:
        """Kafka has not said its time; a process that never knew it must go on some day."""
        self._tried = time.monotonic()
        log.debug("Kafka has not said its time: %s", type(error).__name__)
        if not self.compared and self._tried - self._began >= _SILENT_SECONDS:
            self._give_up(f"Kafka has not said its time so far ({type(error).__name__})")

    def _give_up(self, reason: str, *, lasting: bool = False) -> None:
        if self._reason != reason:
            log.warning("%s; its own is used", clock_offset.not_compared(reason))
        self._reason, self._lasting = reason, lasting

    def _say(self) -> None:
        """Log what the offset means, where that is due."""
        offset, bound, at = self.offset, self._bound, time.monotonic()
        if offset is None:
            return
        state = clock_offset.judge(offset, bound)
        if not clock_offset.must_say(self._said, state, offset, at):
            return
        self._said = Said(state, offset, at)
        words = clock_offset.right_again if state == "right" else clock_offset.wrong
        log.warning("%s", words(offset, bound))


clock = KafkaTime()


@asynccontextmanager
async def comparing(settings: Settings, note: Callable[[float], None]) -> AsyncIterator[None]:
    """Compare once, and then again and again meanwhile."""
    await clock.compare(settings)
    keeping = asyncio.create_task(clock.keep(settings, note), name="clocks")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await clock.rest()


def uptime() -> float:
    """Milliseconds since the machine's start, by a clock that is never set."""
    return time.clock_gettime(_UPTIME) * 1000


def running() -> Uptime:
    """How long the machine has been running since which start."""
    return Uptime(round(uptime()), _boot())


@cache
def _boot() -> str:
    """What tells one start of the machine from another; empty if the system does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class _IncomparableError(Exception):
    """Kafka does not say its time as topic and rights are; the text says what to change."""


async def _soon(settings: Settings) -> list[Sample]:
    """Some exchanges, once the topic has a leader that knows it: it may be new."""
    for _ in range(_TRIES):
        with suppress(LeaderNotAvailableError, NotLeaderForPartitionError):
            return await _samples(settings)
        await asyncio.sleep(_AGAIN_SECONDS)
    return await _samples(settings)


async def _samples(settings: Settings) -> list[Sample]:
    """Some exchanges with the leader of the topic, one after the other."""
    client: Any = AIOKafkaClient(**settings.kafka_options(), request_timeout_ms=_REQUEST_MS)
    topic = settings.topics.clocks
    try:
        await client.bootstrap()
        leader = await _leader(client, topic)
        # The first exchange opens the connection: it is the slowest, and is not the one taken.
        return [await _exchange(client, leader, topic) for _ in range(_SAMPLES)]
    finally:
        await client.close()


async def _leader(client: Any, topic: str) -> int:
    """Who leads the topic; asking must not create it."""
    brokers = client.cluster.brokers()
    if not brokers:
        raise LeaderNotAvailableError
    request = MetadataRequest([topic], allow_auto_topic_creation=False)
    answer = await client.send(next(iter(brokers)).nodeId, request)
    [(code, _, _, partitions)] = answer.topics
    _raise(code, topic)
    if not partitions or partitions[0][2] < 0:
        raise LeaderNotAvailableError
    client.cluster.update_metadata(answer)
    return int(partitions[0][2])


async def _exchange(client: Any, leader: int, topic: str) -> Sample:
    """Write one record, and note when it left, when the answer came, and the broker's time."""
    # The leader's acknowledgement is enough: no program reads the record.
    request = ProduceRequest(None, 1, _REQUEST_MS, [(topic, [(0, _batch())])])
    sent = uptime()
    answer = await client.send(leader, request)
    heard = uptime()
    [(_, [(_, code, _, kafka, *_)])] = answer.topics
    _raise(code, topic)
    if kafka < 0:
        raise _IncomparableError(
            f"the topic {topic} has not message.timestamp.type=LogAppendTime; set it"
        )
    return Sample(sent, heard, kafka)


def _batch() -> bytes:
    """One empty record; the broker puts its own time in."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, _BATCH_BYTES)
    builder.append(0, now_ms(), None, b"", [])
    return bytes(builder.build())


def _raise(code: int, topic: str) -> None:
    error = for_code(code)
    if error is UnknownTopicOrPartitionError:
        raise _IncomparableError(missing(topic))
    if error is TopicAuthorizationFailedError:
        raise _IncomparableError(f"this user may not write to the topic {topic}; let it")
    if error is not NoError and not error.retriable:
        raise _IncomparableError(f"Kafka answers {error.__name__} for the topic {topic}")
    if error is not NoError:
        raise error
