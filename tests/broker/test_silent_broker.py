"""A broker that does not answer: its connections are closed soon, despite long timeouts."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError

from deploy import topics
from deploy.local_kafka.broker import HOST, LocalKafka
from service.kafka import clients
from service.kafka.connections import backoff
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.running_ingest import until
from tests.faults.proxy import Proxy

PRODUCE, FETCH, OFFSET_COMMIT, HEARTBEAT = 0, 1, 8, 12

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def proxy(freezable: LocalKafka) -> AsyncIterator[Proxy]:
    async with Proxy(HOST, freezable.proxied_port, freezable.proxied) as proxy:
        yield proxy


@pytest.fixture
async def direct(freezable: LocalKafka, tmp_path: Path) -> Settings:
    """A namespace with its topics, reached without the proxy."""
    namespace = f"t-{secrets.token_hex(4)}"
    given = Settings(
        kafka=freezable.bootstrap,
        namespace=namespace,
        partitions=1,
        data=tmp_path,
        session_timeout=30,
    )
    await topics.apply(given)
    return given


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set all other timeouts far longer than any test."""
    monkeypatch.setattr(clients, "REBALANCE_SECONDS", 1000)
    monkeypatch.setattr(clients, "_READ_SECONDS", 1000)


@asynccontextmanager
async def member(direct: Settings, proxy: Proxy) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the tracker's group at the start of its topic, connected through the proxy."""
    through = direct.model_copy(update={"kafka": proxy.bootstrap})
    consumer = clients.consumer(through, direct.topics.group("track"))
    consumer.subscribe([direct.topics.observations])
    await clients.join(through, consumer)
    consumer.seek(TopicPartition(direct.topics.observations, 0), 0)
    try:
        yield consumer
    finally:
        proxy.thaw()
        await clients.leave(consumer)


async def _values(consumer: AIOKafkaConsumer, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        polled = await consumer.getmany(timeout_ms=100)
        found += [record.value for records in polled.values() for record in records if record.value]
    return found


async def _write(direct: Settings, value: bytes) -> None:
    await write(direct, [Record(direct.topics.observations, 0, b"k", value)])


async def test_a_fetch_without_an_answer_is_repeated(direct: Settings, proxy: Proxy) -> None:
    """The held answer is never delivered: the record comes on another connection."""
    async with member(direct, proxy) as consumer:
        await _write(direct, b"one")
        assert await _values(consumer, 1) == [b"one"]
        held = proxy.hold(FETCH)
        await held.caught
        await _write(direct, b"two")
        assert await _values(consumer, 1) == [b"two"]
        held.drop()


async def test_a_heartbeat_without_an_answer_is_repeated(direct: Settings, proxy: Proxy) -> None:
    """It is sent on another connection, and the member keeps its assignment."""
    async with member(direct, proxy) as consumer:
        generation = _generation(consumer)
        first = proxy.hold(HEARTBEAT)
        await first.caught
        second = proxy.hold(HEARTBEAT)
        await second.caught
        second.release()
        # Committed with the member's generation: Kafka refuses a member that has left.
        await consumer.commit({TopicPartition(direct.topics.observations, 0): 0})
        assert _generation(consumer) == generation
        first.drop()


async def test_a_commit_without_an_answer_is_repeated(direct: Settings, proxy: Proxy) -> None:
    async with member(direct, proxy) as consumer:
        place = TopicPartition(direct.topics.observations, 0)
        held = proxy.hold(OFFSET_COMMIT)
        await consumer.commit({place: 0})
        await held.caught
        assert await consumer.committed(place) == 0
        held.drop()


async def test_a_read_without_an_answer_is_repeated(direct: Settings, proxy: Proxy) -> None:
    """This reader restores the stores."""
    through = direct.model_copy(update={"kafka": proxy.bootstrap})
    reader = clients.reader(through)
    place = TopicPartition(direct.topics.observations, 0)
    reader.assign([place])
    await reader.start()
    try:
        held = proxy.hold(FETCH)
        reader.seek(place, 0)
        await held.caught
        await _write(direct, b"one")
        assert await _values(reader, 1) == [b"one"]
        held.drop()
    finally:
        await clients.leave(reader)


async def test_a_silent_network_path_closes_all_connections(direct: Settings, proxy: Proxy) -> None:
    """Old and new connections transfer nothing, not even a close; afterwards all continues."""
    async with member(direct, proxy) as consumer:
        connections = list(_inner(consumer)._conns.values())
        proxy.freeze()
        await until(_holds(lambda: not any(one.connected() for one in connections)))
        assert all(backoff.fails((one.host, one.port)) for one in connections)
        await _write(direct, b"one")
        proxy.thaw()
        assert await _values(consumer, 1) == [b"one"]


async def test_a_producer_is_abandoned_without_warnings_of_asyncio(
    direct: Settings, proxy: Proxy
) -> None:
    """With a batch that waits for a retry, another after it, and no connection."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, why: complaints.append(why))
    through = direct.model_copy(update={"kafka": proxy.bootstrap})
    producer = clients.producer(through, direct.topics.transactional_id(0))
    await producer.start()
    await producer.begin_transaction()
    held = proxy.hold(PRODUCE)
    first = await producer.send_batch(_batch(producer), direct.topics.observations, partition=0)
    await held.caught
    accumulator: Any = producer._message_accumulator
    assert not accumulator._batches
    again, reenqueue = asyncio.Event(), accumulator.reenqueue

    def noted(batch: object) -> None:
        reenqueue(batch)
        again.set()

    accumulator.reenqueue = noted
    proxy.refuse()
    async with asyncio.timeout(60):
        await again.wait()
    held.drop()
    await clients.abandon(producer)
    with pytest.raises(KafkaConnectionError):
        await first
    del first, producer
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


@pytest.mark.parametrize(("flush_seconds", "acknowledged"), [(30, True), (0.2, False), (0, False)])
async def test_a_producer_has_time_to_flush_if_wanted(
    direct: Settings, proxy: Proxy, flush_seconds: float, *, acknowledged: bool
) -> None:
    """Batches in flight are acknowledged within that time, or fail."""
    producer = clients.producer(direct.model_copy(update={"kafka": proxy.bootstrap}))
    await producer.start()
    held = proxy.hold(PRODUCE)
    sent = await producer.send_batch(_batch(producer), direct.topics.observations, partition=0)
    await held.caught
    inner: Any = producer
    ending = asyncio.create_task(clients.abandon(producer, flush_seconds=flush_seconds))
    await until(_holds(lambda: bool(inner._closed)))
    if acknowledged:
        held.release()
        assert (await sent).offset == 0
    else:
        with pytest.raises(KafkaConnectionError):
            await sent
        held.drop()
    await ending


def _holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


def _batch(producer: Any) -> Any:
    builder = producer.create_batch()
    builder.append(timestamp=None, key=b"k", value=b"v")
    builder.close()
    return builder


def _inner(consumer: AIOKafkaConsumer) -> Any:
    return consumer._client


def _generation(consumer: Any) -> int:
    return int(consumer._coordinator.generation)
