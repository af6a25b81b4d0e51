"""Kafka's time in this process: compared at the start and every minute, kept in between.

A record is written to the topic `clocks`, the broker stamps it with its own time (LogAppendTime),
and the answer contains that time (decision 21). From then on Kafka's time is that time plus the
elapsed time; changes of this machine's clock do not affect it.
"""

import asyncio
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
from service.kafka.causes import Refused
from service.kafka.clock_offset import Estimate, Logged, Sample
from service.kafka.failures import lacking, reporter
from service.kafka.login import options
from service.logger import logger
from service.settings import Settings
from service.wall_clock import now_ms

EVERY_SECONDS = 60.0
RETRY_SECONDS = 1.0  # after silence
_INCOMPARABLE_SECONDS = 5.0  # when the topic or a permission is missing
# The time limits: of a wait for a comparison; at the end; of one request.
_PATIENCE_SECONDS = 2.0
_REST_SECONDS = 0.5
_SILENT_SECONDS = 60.0
_REQUEST_MS = 1500
_TRIES = 10
_AGAIN_SECONDS = 0.1
_SAMPLES = 3
_BATCH_BYTES = 1024

# How often the wall clock is read, and the difference from its expected time that means it was set,
# or that the machine slept while its other clock did not.
_CHECK_SECONDS = 1.0
_JUMP_SECONDS = 0.5

# Counts what a machine sleeps, where the system has such a clock.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT = Path("/proc/sys/kernel/random/boot_id")

log = logger(__name__)


class KafkaTime:
    """The clock for the times of records and for timers; one per process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget every comparison, as at the start of a process."""
        self._estimate: Estimate | None = None
        self._offset = 0.0  # seconds, when it was estimated
        self._reason = ""  # why the clocks cannot be compared
        self._incomparable = False  # until the topic or the rights are changed
        self._began = self._tried = -math.inf  # trying, and the last try that failed
        self._logged: Logged | None = None
        self._doubted = False
        self._comparing: asyncio.Task[None] | None = None

    def now(self) -> int:
        """Return Kafka's time in Unix milliseconds; this machine's time before a comparison."""
        return now_ms() if self._estimate is None else self._estimate.at(uptime())

    @property
    def compared(self) -> bool:
        return self._estimate is not None

    @property
    def certain(self) -> bool:
        """Whether `now` can be used: compared, or not comparable for some time."""
        return self.compared or bool(self._reason)

    @property
    def decided(self) -> bool:
        """Whether it is compared, or cannot be with the present topic and permissions."""
        return self.compared or self._incomparable

    @property
    def offset(self) -> float | None:
        """Return how many seconds this machine's clock is ahead of Kafka's; None if unknown."""
        return None if self._estimate is None else self._estimate.offset(now_ms(), uptime())

    @property
    def problem(self) -> str | None:
        """Return why the clock makes a service not ready, in one sentence; None if it is ready."""
        offset = self.offset
        if offset is None or clock_offset.judge(offset, self._bound) != "unready":
            return None
        return clock_offset.differ(offset, self._bound)

    def known(self) -> str:
        """Return the known facts about this machine's clock, as a sentence."""
        offset = self.offset
        if offset is None:
            return clock_offset.not_compared(self._reason or "Kafka has not reported its time yet")
        if clock_offset.judge(offset, self._bound) == "right":
            return f"{clock_offset.difference(offset, self._bound)}; compare the brokers' clocks"
        return clock_offset.differ(offset, self._bound)

    def doubt(self) -> None:
        """Compare soon, because Kafka has refused a time."""
        self._doubted = True

    async def compare(self, settings: Settings) -> None:
        """Compare now, within seconds; without an answer nothing changes.

        A longer comparison continues: if cancelled, aiokafka would leave a connection open.
        """
        if self._comparing is None or self._comparing.done():
            self._comparing = asyncio.create_task(self._compare(settings))
        await asyncio.wait([self._comparing], timeout=_PATIENCE_SECONDS)

    async def rest(self) -> None:
        """Wait briefly for a running comparison to end."""
        if self._comparing is not None and not self._comparing.done():
            await asyncio.wait([self._comparing], timeout=_REST_SECONDS)

    async def ensure(self, settings: Settings) -> None:
        """Compare if that is possible, not done yet, and has not failed just now."""
        lately = time.monotonic() - self._tried < RETRY_SECONDS
        if not (self.decided or lately):
            await self.compare(settings)

    async def keep(self, settings: Settings, note: Callable[[float], None]) -> None:
        """Compare repeatedly until cancelled; `note` gets the offset, NaN if unknown."""
        due = time.monotonic() + self._pause()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self._doubted or self._jumped() or time.monotonic() >= due:
                self._doubted = False
                await self.compare(settings)
                due = time.monotonic() + self._pause()
            self._log_offset()
            note(float("nan") if self.offset is None else self.offset)

    @property
    def _bound(self) -> float:
        return 0.0 if self._estimate is None else self._estimate.bound / 1000

    def _pause(self) -> float:
        if self._incomparable:
            return _INCOMPARABLE_SECONDS
        return EVERY_SECONDS if self.compared else RETRY_SECONDS

    def _jumped(self) -> bool:
        offset = self.offset
        return offset is not None and abs(offset - self._offset) > _JUMP_SECONDS

    async def _compare(self, settings: Settings) -> None:
        if self._began == -math.inf:
            self._began = time.monotonic()
        try:
            self._accept(clock_offset.estimate(await _soon(settings)))
        except _IncomparableError as error:
            self._give_up(str(error), incomparable=True)
        except TopicAuthorizationFailedError as error:
            denied = lacking(settings, Refused("topic", error.args), "Write")
            reporter.refused(denied)
            self._give_up(str(denied), incomparable=True)
        except Exception as error:  # noqa: BLE001 - the clock must not end a service
            self._note_failure(error)
        self._log_offset()

    def _accept(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self._offset = estimate.offset(now_ms(), uptime())
        self._reason, self._incomparable = "", False

    def _note_failure(self, error: Exception) -> None:
        """Note a failed comparison; after some time a process without one uses its own clock."""
        self._tried = time.monotonic()
        log.debug("clock_unanswered", error=type(error).__name__)
        if not self.compared and self._tried - self._began >= _SILENT_SECONDS:
            self._give_up(f"Kafka has not reported its time ({type(error).__name__})")

    def _give_up(self, reason: str, *, incomparable: bool = False) -> None:
        if self._reason != reason:
            sentence = f"{clock_offset.not_compared(reason)}; the machine's own clock is used"
            log.warning("clock_not_compared", message=sentence, reason=reason)
        self._reason, self._incomparable = reason, incomparable

    def _log_offset(self) -> None:
        """Log the meaning of the offset, if a line is due."""
        offset, bound, at = self.offset, self._bound, time.monotonic()
        if offset is None:
            return
        state = clock_offset.judge(offset, bound)
        if not clock_offset.line_due(self._logged, state, offset, at):
            return
        self._logged = Logged(state, offset, at)
        seconds = round(offset, 3)
        if state == "right":
            sentence = clock_offset.agree_again(offset, bound)
            log.warning("clocks_agree", message=sentence, ahead_seconds=seconds)
        else:
            sentence = clock_offset.differ(offset, bound)
            log.warning("clocks_differ", message=sentence, ahead_seconds=seconds)


clock = KafkaTime()


@asynccontextmanager
async def comparing(settings: Settings, note: Callable[[float], None]) -> AsyncIterator[None]:
    """Compare once, and then repeatedly while the block runs."""
    await clock.compare(settings)
    keeping = asyncio.create_task(clock.keep(settings, note), name="clocks")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await clock.rest()


def uptime() -> float:
    """Return the milliseconds since the machine's start, from a clock that is never set."""
    return time.clock_gettime(_UPTIME) * 1000


def running() -> Uptime:
    """The machine's uptime, and the start that it counts from."""
    return Uptime(round(uptime()), _boot())


@cache
def _boot() -> str:
    """Return an id of this start of the machine; empty if the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


class _IncomparableError(Exception):
    """The topic or the permissions prevent a comparison; the text says what to change."""


async def _soon(settings: Settings) -> list[Sample]:
    """Return some exchanges, once the topic has a leader that knows it: it may be new."""
    for _ in range(_TRIES):
        with suppress(LeaderNotAvailableError, NotLeaderForPartitionError):
            return await _samples(settings)
        await asyncio.sleep(_AGAIN_SECONDS)
    return await _samples(settings)


async def _samples(settings: Settings) -> list[Sample]:
    """Return some exchanges with the leader of the topic, one after the other."""
    client: Any = AIOKafkaClient(**options(settings), request_timeout_ms=_REQUEST_MS)
    topic = settings.topics.clocks
    try:
        await client.bootstrap()
        leader = await _leader(client, topic)
        # The first exchange opens the connection: it is the slowest, and is not used.
        return [await _exchange(client, leader, topic) for _ in range(_SAMPLES)]
    finally:
        await client.close()


async def _leader(client: Any, topic: str) -> int:
    """Return the leader of the topic; the request must not create the topic."""
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
            f"the topic {topic} lacks message.timestamp.type=LogAppendTime; set it"
        )
    return Sample(sent, heard, kafka)


def _batch() -> bytes:
    """Return one empty record; the broker adds its own time."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, _BATCH_BYTES)
    builder.append(0, now_ms(), None, b"", [])
    return bytes(builder.build())


def _raise(code: int, topic: str) -> None:
    error = for_code(code)
    if error is UnknownTopicOrPartitionError:
        raise _IncomparableError(missing(topic))
    if error is TopicAuthorizationFailedError:
        raise error(topic)
    if error is not NoError and not error.retriable:
        raise _IncomparableError(f"Kafka answers {error.__name__} for the topic {topic}")
    if error is not NoError:
        raise error
