"""Short scripts that run on the model and on a real Kafka, with the result of each step."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from service.kafka import clients
from service.kafka.login import options
from service.settings import Settings
from tests.broker.running_ingest import until
from tests.simulation.kafka_model import GROUP, Broker, FencedError, Item, RefusedError, Token

# A verb and its arguments. Producers are "one", "two", …, all with one transactional id; "hurry"
# starts one with a transaction timeout of one second.
Step = tuple[str, ...]
Result = Any

_SECONDS = 10
_MS = 1000
_SHORT_SECONDS = 1.0  # the transaction timeout where it is tested, and where it is not
_LONG_SECONDS = 120.0
_READS: tuple[Step, ...] = (
    *(("committed", "statuses"), ("written", "statuses"), ("committed", "events"), ("group",)),
)

SCRIPTS: dict[str, Sequence[Step]] = {
    "a commit shows records and offset at once, and its marker takes an offset": [
        *(("init", "one"), ("send", "one", "statuses"), ("send", "one", "statuses")),
        *(("send", "one", "events"), ("offset", "one", "3"), *_READS),
        *(("commit", "one"), ("init", "two"), *_READS),
        *(("send", "two", "statuses"), ("commit", "two"), ("init", "three"), *_READS),
    ],
    "an abort hides records and offset permanently": [
        *(("init", "one"), ("send", "one", "statuses"), ("offset", "one", "3"), ("abort", "one")),
        *(("init", "two"), *_READS),
        *(("send", "two", "statuses"), ("commit", "two"), ("init", "three"), *_READS),
    ],
    "a new owner ends the earlier owner's transaction and fences it": [
        *(("init", "one"), ("send", "one", "statuses"), ("offset", "one", "3"), *_READS),
        *(("init", "two"), *_READS, ("send", "one", "statuses"), *_READS),
        *(("send", "two", "statuses"), ("commit", "two"), ("init", "three"), *_READS),
    ],
    "a zombie's commit is refused": [
        *(("init", "one"), ("send", "one", "statuses"), ("offset", "one", "3"), ("init", "two")),
        *(("commit", "one"), *_READS),
    ],
    "a zombie's offset is refused": [
        *(("init", "one"), ("init", "two"), ("offset", "one", "3"), *_READS),
    ],
    "a zombie without an open transaction is refused as well": [
        *(("init", "one"), ("send", "one", "statuses"), ("commit", "one"), ("init", "two")),
        *(("send", "one", "statuses"), *_READS),
    ],
    "a record next to an open transaction is visible after its end": [
        *(("init", "one"), ("send", "one", "statuses"), ("plain", "statuses"), *_READS),
        *(("abort", "one"), ("init", "two"), *_READS),
    ],
    "the offset stays as last committed while another transaction has one": [
        *(("init", "one"), ("offset", "one", "3"), ("commit", "one"), ("init", "two"), ("group",)),
        *(("offset", "two", "5"), ("group",), ("abort", "two"), ("init", "three"), ("group",)),
    ],
    "a transaction past its timeout is aborted, and its producer refused": [
        *(("hurry", "one"), ("send", "one", "statuses"), ("overtime", "statuses"), *_READS),
        *(("commit", "one"), *_READS),
    ],
}


class Subject(Protocol):
    """What scripts run on; a refusal is raised as its own kind of error."""

    async def do(self, verb: str, *given: str) -> Result:
        """Do one step and return its result."""


async def play(script: Sequence[Step], subject: Subject) -> list[tuple[Step, Result]]:
    """Run a script and return the result of each step."""
    return [(step, await _result(subject.do(*step))) for step in script]


async def _result(step: Awaitable[Result]) -> Result:
    try:
        return await step
    except (FencedError, ProducerFenced):
        return "fenced"
    except (RefusedError, KafkaError):
        return "refused"


class KafkaModel:
    """Runs scripts on the model."""

    def __init__(self) -> None:
        self._broker = Broker(("statuses", "events"))
        self._tokens: dict[str, Token] = {}
        self._sent = 0
        self._sequences: dict[tuple[str, str], int] = {}

    async def do(self, verb: str, *given: str) -> Result:
        steps: dict[str, Callable[..., Result]] = {
            "init": self._init,
            "hurry": self._init,
            "send": self._send,
            "plain": self._plain,
            "offset": self._offset,
            "commit": lambda one: self._broker.end(self._tokens[one], "committed"),
            "abort": lambda one: self._broker.end(self._tokens[one], "aborted"),
            "overtime": self._overtime,
            "committed": self._committed,
            "written": self._written,
            "group": lambda: self._broker.offset,
        }
        return steps[verb](*given)

    def _init(self, one: str) -> None:
        self._tokens[one] = self._broker.init("id", _MS)

    def _send(self, one: str, topic: str) -> int | None:
        item = self._item()
        self._broker.add(self._tokens[one], [topic])
        sequence = self._sequences.get((one, topic), 0)
        self._sequences[one, topic] = sequence + 1
        return self._broker.produce(self._tokens[one], topic, [item], sequence)

    def _plain(self, topic: str) -> int:
        return self._broker.logs[topic].append([self._item()])[0].offset

    def _item(self) -> Item:
        self._sent += 1
        return Item(b"key", str(self._sent).encode(), 0)

    def _offset(self, one: str, offset: str) -> None:
        self._broker.add(self._tokens[one], [GROUP])
        self._broker.commit_offset(self._tokens[one], int(offset))

    def _overtime(self, _: str) -> None:
        self._broker.now += _MS
        self._broker.expire()

    def _committed(self, topic: str) -> Result:
        log = self._broker.logs[topic]
        return log.stable, [(r.offset, r.value) for r in log.committed(0)]

    def _written(self, topic: str) -> Result:
        log = self._broker.logs[topic]
        return log.end, [(r.offset, r.value) for r in log.written()]


class RealKafka:
    """Runs scripts on a real Kafka; `close` ends its clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._group = settings.topics.group("track")
        self._producers: dict[str, AIOKafkaProducer] = {}
        self._under_way: set[str] = set()
        self._sent = 0

    async def close(self) -> None:
        for producer in self._producers.values():
            await clients.abandon(producer)

    async def do(self, verb: str, *given: str) -> Result:
        steps: dict[str, Callable[..., Awaitable[Result]]] = {
            "init": self._init,
            "hurry": lambda one: self._init(one, _SHORT_SECONDS),
            "send": self._send,
            "plain": self._plain,
            "offset": self._offset,
            "commit": lambda one: self._producers[one].commit_transaction(),
            "abort": lambda one: self._producers[one].abort_transaction(),
            "overtime": self._overtime,
            "committed": lambda topic: self._read(topic, "read_committed"),
            "written": lambda topic: self._read(topic, "read_uncommitted"),
            "group": self._committed_offset,
        }
        if verb in ("commit", "abort"):
            self._under_way.discard(given[0])
        async with asyncio.timeout(2 * _SECONDS):
            return await steps[verb](*given)

    async def _init(self, one: str, seconds: float = _LONG_SECONDS) -> None:
        settings = self._settings.model_copy(update={"transaction_timeout": seconds})
        self._producers[one] = clients.producer(settings, f"{self._group}.0")
        await self._producers[one].start()

    async def _send(self, one: str, topic: str) -> Result:
        producer = await self._begun(one)
        return await self._put(producer, topic)

    async def _plain(self, topic: str) -> Result:
        producer = clients.producer(self._settings)
        await producer.start()
        try:
            return await self._put(producer, topic)
        finally:
            await producer.stop()

    async def _put(self, producer: AIOKafkaProducer, topic: str) -> Result:
        self._sent += 1
        partition = self._partition(topic)
        sent = await producer.send_and_wait(
            partition.topic, str(self._sent).encode(), key=b"key", partition=partition.partition
        )
        return sent.offset

    async def _offset(self, one: str, offset: str) -> None:
        producer = await self._begun(one)
        where = {self._partition("observations"): int(offset)}
        await producer.send_offsets_to_transaction(where, self._group)

    async def _begun(self, one: str) -> AIOKafkaProducer:
        producer = self._producers[one]
        if one not in self._under_way:
            self._under_way.add(one)
            await producer.begin_transaction()
        return producer

    async def _overtime(self, topic: str) -> None:
        """Wait for the broker, which looks for late transactions every 10 s."""

        async def ended() -> bool:
            stable, _ = await self._read(topic, "read_committed")
            end, _ = await self._read(topic, "read_uncommitted")
            return bool(stable == end)

        await until(ended)

    async def _read(self, topic: str, isolation: str) -> Result:
        partition = self._partition(topic)
        consumer = AIOKafkaConsumer(
            **options(self._settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
        )
        await consumer.start()
        try:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            end = (await consumer.end_offsets([partition]))[partition]
            found = []
            while await consumer.position(partition) < end:
                got = await consumer.getmany(partition, timeout_ms=100)
                found += [(r.offset, r.value) for r in got.get(partition, ()) if r.offset < end]
            return end, found
        finally:
            await clients.leave(consumer)

    async def _committed_offset(self) -> Result:
        """Read the committed offset as the tracker does."""
        partition = self._partition("observations")
        consumer = clients.consumer(self._settings, self._group)
        consumer.assign([partition])
        await consumer.start()
        try:
            return await consumer.committed(partition)
        finally:
            await clients.leave(consumer)

    def _partition(self, topic: str) -> TopicPartition:
        return TopicPartition(f"{self._settings.namespace}.{topic}", 0)
