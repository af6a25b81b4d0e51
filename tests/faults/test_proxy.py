"""The faults of the proxy, with clients of a real Kafka."""

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.coordination import FindCoordinatorRequest

from deploy.local_kafka.broker import HOST, LocalKafka, free_port
from tests.broker.reading import read
from tests.faults.proxied_connection import HeldFrame
from tests.faults.proxy import END_TXN, Proxy

API_VERSIONS = 18
ENOUGH = 20  # requests answered directly while one passes through the proxy

pytestmark = pytest.mark.timeout(40)


@pytest.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """A broker that is reached directly, and through a proxy on a port of its own."""
    data = tmp_path_factory.mktemp("proxied")
    async with LocalKafka(data, proxied=free_port(0)) as kafka:
        yield kafka


@pytest.fixture
async def proxy(broker: LocalKafka) -> AsyncIterator[Proxy]:
    """The broker's proxy, without faults."""
    async with Proxy(HOST, broker.proxied_port, broker.proxied) as proxy:
        yield proxy


@pytest.fixture
async def topic(broker: LocalKafka, namespace: str) -> str:
    """A topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(namespace, 1, 1)])
    finally:
        await admin.close()
    return namespace


@asynccontextmanager
async def producing(bootstrap: str, **others: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Start a producer with a short retry backoff."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, retry_backoff_ms=50, **others)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def committing(proxy: Proxy, topic: str, **others: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Start a transaction with one record; yield the task that commits it."""
    async with producing(proxy.bootstrap, transactional_id=topic, **others) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"one")
        commit = asyncio.create_task(producer.commit_transaction())
        try:
            yield commit
        finally:
            commit.cancel()


async def values(broker: LocalKafka, topic: str) -> list[bytes]:
    """Return all committed values, read without the proxy."""
    return [record.value for record in await read(broker.bootstrap, topic)]


async def visible(broker: LocalKafka, topic: str) -> None:
    """Wait until the record is there: Kafka answers a commit before it has marked partitions."""
    while await values(broker, topic) != [b"one"]:
        pass  # the request to Kafka takes time


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Open a TCP connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def ask(writer: StreamWriter, number: int) -> None:
    """Send a request that Kafka answers at once, with the number in its answer."""
    writer.write(struct.pack(">ihhih", 10, API_VERSIONS, 0, number, -1))


async def answer(reader: StreamReader) -> int:
    """Return the number in the next answer."""
    size, number = struct.unpack(">ii", await reader.readexactly(8))
    await reader.readexactly(size - 4)
    return int(number)


async def answers_meanwhile(broker: LocalKafka) -> None:
    """Let Kafka answer other requests, so long that a passed answer would have arrived."""
    async with connected(broker.port) as (reader, writer):
        for number in range(ENOUGH):
            ask(writer, number)
            assert await answer(reader) == number


async def test_clients_stay_on_the_proxy(proxy: Proxy, broker: LocalKafka, topic: str) -> None:
    """Metadata and coordinators carry the proxy's address; a group and a producer work with it."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=proxy.bootstrap, group_id=topic, auto_offset_reset="earliest"
    )
    async with producing(proxy.bootstrap) as producer, consumer:
        [node] = producer.client.cluster.brokers()
        assert (node.host, node.port) == (HOST, proxy.port)
        await producer.send_and_wait(topic, b"one")
        assert (await consumer.getone()).value == b"one"
        await consumer.commit()
        question = FindCoordinatorRequest(topic, CoordinationType.GROUP)
        coordinator = await producer.client.send(node.nodeId, question)
        assert (coordinator.host, coordinator.port) == (HOST, proxy.port)
    assert proxy.port not in {broker.port, broker.proxied_port}


async def test_a_refusing_proxy_passes_nothing(
    proxy: Proxy, broker: LocalKafka, topic: str
) -> None:
    """A connected client can neither send nor connect again until accept()."""
    async with producing(proxy.bootstrap, request_timeout_ms=500) as producer:
        await producer.send_and_wait(topic, b"one")
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, proxy.port)
        with pytest.raises(KafkaError):
            await producer.send_and_wait(topic, b"lost")
        proxy.accept()
        await producer.send_and_wait(topic, b"two")
    assert await values(broker, topic) == [b"one", b"two"]


async def test_a_cut_is_a_reset_and_clients_recover(
    proxy: Proxy, broker: LocalKafka, topic: str
) -> None:
    """Open connections are reset; new ones work at once, so a producer loses nothing."""
    async with producing(proxy.bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"one")
        async with connected(proxy.port) as (reader, writer):
            ask(writer, 1)
            assert await answer(reader) == 1
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        await producer.send_and_wait(topic, b"two")
    assert await values(broker, topic) == [b"one", b"two"]


async def test_a_frozen_proxy_passes_nothing(proxy: Proxy, broker: LocalKafka, topic: str) -> None:
    """Old and new connections hang without an error, and continue after thaw()."""
    async with producing(proxy.bootstrap) as producer:
        await producer.send_and_wait(topic, b"one")
        proxy.freeze()
        sending = asyncio.create_task(producer.send_and_wait(topic, b"frozen"))
        async with connected(proxy.port) as (reader, writer):
            ask(writer, 1)
            async with producing(broker.bootstrap) as direct:
                await direct.send_and_wait(topic, b"direct")
            await answers_meanwhile(broker)
            assert await values(broker, topic) == [b"one", b"direct"]
            assert not sending.done()
            proxy.thaw()
            assert await answer(reader) == 1
        await sending
    assert await values(broker, topic) == [b"one", b"direct", b"frozen"]


@pytest.mark.parametrize(
    ("slow", "quick"),
    [
        (lambda proxy: proxy.delay(3600), lambda proxy: proxy.delay(0)),
        (lambda proxy: proxy.throttle(20), lambda proxy: proxy.throttle(None)),
    ],
    ids=["delay", "throttle"],
)
async def test_slow_answers_come_in_order(
    proxy: Proxy,
    broker: LocalKafka,
    slow: Callable[[Proxy], None],
    quick: Callable[[Proxy], None],
) -> None:
    """Answers are late during the fault; afterwards all arrive in order."""
    async with connected(proxy.port) as (reader, writer):
        ask(writer, 0)
        assert await answer(reader) == 0
        slow(proxy)
        for number in range(1, 6):
            ask(writer, number)
        late = asyncio.create_task(answer(reader))
        await answers_meanwhile(broker)
        assert not late.done()
        quick(proxy)
        assert await late == 1
        assert [await answer(reader) for _ in range(4)] == [2, 3, 4, 5]


async def test_a_held_commit_is_made_when_it_is_released(
    proxy: Proxy, broker: LocalKafka, topic: str
) -> None:
    """Until then the client waits, and readers do not see the record."""
    held = proxy.hold(END_TXN)
    async with committing(proxy, topic) as commit:
        await held.caught
        assert await values(broker, topic) == []
        assert not commit.done()
        held.release()
        await commit
        await visible(broker, topic)


async def test_a_held_commit_is_made_after_its_client_disconnects(
    proxy: Proxy, broker: LocalKafka, topic: str
) -> None:
    """Kafka receives the request late and commits, though the client has disconnected."""
    held = proxy.hold(END_TXN)
    async with committing(proxy, topic):
        await held.caught
        proxy.refuse()
    assert await values(broker, topic) == []
    held.release()
    await visible(broker, topic)


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "given up"])
async def test_a_held_commit_outlives_its_connection(
    proxy: Proxy, broker: LocalKafka, topic: str, *, cut: bool
) -> None:
    """The client connects again and commits; the first request reaches Kafka even after that."""
    held, late = proxy.hold(END_TXN), proxy.hold_response(END_TXN)
    async with committing(proxy, topic, request_timeout_ms=500) as commit:
        await held.caught
        if cut:
            proxy.cut()
        await commit
        await visible(broker, topic)
        held.release()
        await late.caught


async def test_a_commit_whose_answer_is_held_is_made(
    proxy: Proxy, broker: LocalKafka, topic: str
) -> None:
    """Readers see the record before the client receives the answer."""
    held = proxy.hold_response(END_TXN)
    async with committing(proxy, topic) as commit:
        await held.caught
        await visible(broker, topic)
        assert not commit.done()
        held.release()
        await commit


@pytest.mark.parametrize("hold", [Proxy.hold, Proxy.hold_response])
async def test_a_dropped_request_or_answer_is_retried(
    proxy: Proxy, broker: LocalKafka, topic: str, hold: Callable[[Proxy, int], HeldFrame]
) -> None:
    """The client is disconnected, and commits on its next connection."""
    held, again = hold(proxy, END_TXN), hold(proxy, END_TXN)
    async with committing(proxy, topic) as commit:
        await held.caught
        held.drop()
        await again.caught
        again.release()
        await commit
        await visible(broker, topic)


async def test_a_dropped_request_never_reaches_kafka(proxy: Proxy) -> None:
    """Its connection is reset, and no answer comes."""
    held, unheard = proxy.hold(API_VERSIONS), proxy.hold_response(API_VERSIONS)
    async with connected(proxy.port) as (reader, writer):
        ask(writer, 1)
        await held.caught
        held.drop()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert not unheard._caught.is_set()


async def test_the_end_of_a_connection_is_passed_on(proxy: Proxy) -> None:
    """Kafka closes on an unknown request; the client sees an end, not a reset."""
    async with connected(proxy.port) as (reader, writer):
        writer.write(struct.pack(">ihhih", 10, 999, 0, 1, -1))
        assert await reader.read() == b""


async def test_without_a_broker_clients_are_reset() -> None:
    """A proxy without a broker accepts connections and resets them."""
    async with Proxy(HOST, free_port(0)) as proxy, connected(proxy.port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_the_proxy_ends_everything_it_started(broker: LocalKafka) -> None:
    """Leaving the context ends open, held and frozen connections, and frees the port."""
    before = asyncio.all_tasks()
    async with AsyncExitStack() as clients:
        async with Proxy(HOST, broker.proxied_port) as proxy:
            held = proxy.hold(API_VERSIONS)
            reader, writer = await clients.enter_async_context(connected(proxy.port))
            ask(writer, 1)
            await held.caught
            proxy.freeze()
            await clients.enter_async_context(connected(proxy.port))
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert asyncio.all_tasks() == before
    assert free_port(proxy.port) == proxy.port
