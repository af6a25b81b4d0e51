"""Faults of ingest's environment: Kafka frozen, stopped or refusing; overload; bad starts."""

import asyncio
import itertools
import os
import secrets
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from ingest import app, server
from service.errors import Problem
from service.http.server import listen
from service.settings import Settings
from tests import HOME
from tests.broker.running_ingest import Ingest, configure, largest, running, settings, stored, until


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """Return a broker for the long tests of this module, which end it."""
    async with LocalKafka(tmp_path_factory.mktemp("own")) as kafka:
        yield kafka


async def _becomes_ready(ingest: Ingest) -> None:
    async def ready() -> bool:
        return await ingest.ready() == (200, [])

    await until(ready)


async def _becomes_unready(ingest: Ingest) -> str:
    async def unready() -> bool:
        return (await ingest.ready())[0] == 503

    await until(unready)
    return str((await ingest.ready())[1][0])


async def _says(ingest: Ingest, words: str) -> None:
    """Wait until ingest is unready for this reason; other reasons may come first."""

    async def reported() -> bool:
        status, problems = await ingest.ready()
        return status == 503 and any(words in problem for problem in problems)

    await until(reported)


async def _accepts_again(ingest: Ingest, mark: str) -> None:
    async def taken() -> bool:
        return (await ingest.client.post(f"/webhooks/whapi/{mark}", content=b"again")).is_success

    await until(taken)
    assert b"again" in [record.value for record in await stored(ingest, mark)]


async def test_a_frozen_broker_means_503_until_it_continues(
    freezable: LocalKafka, namespace: str
) -> None:
    """Frozen: not ready, 503 with Retry-After, at once when too many wait; then ready again."""
    given = settings(freezable.bootstrap, namespace, publish_deadline=1.0, max_in_flight=3)
    async with running(given) as ingest:
        await _accepts_again(ingest, "before")
        freezable.pause()
        try:
            posts = [
                asyncio.create_task(ingest.client.post("/webhooks/whapi/frozen", content=b"x"))
                for _ in range(5)
            ]
            answers = [await each for each in itertools.islice(asyncio.as_completed(posts), 2)]
            waiting = [each for each in posts if not each.done()]
            assert len(waiting) == 3, "requests over the bound are refused first"
            answers += await asyncio.gather(*waiting)
            answered = {(each.status_code, each.headers.get("retry-after")) for each in answers}
            assert answered == {(503, "5")}
            await _says(ingest, f"Kafka does not answer at {freezable.bootstrap}")
            assert (await ingest.client.get("/health/live")).status_code == 200
            public = await ingest.client.get("/health/ready")
            assert (public.status_code, public.json()) == (503, {"ready": False})
        finally:
            freezable.resume()
        await _becomes_ready(ingest)
        await _accepts_again(ingest, "after")


@pytest.mark.long
async def test_a_killed_broker_means_503_until_it_is_back(own: LocalKafka, namespace: str) -> None:
    """Bodies answered 200 before the crash are on Kafka after it; in between senders get 503."""
    async with running(settings(own.bootstrap, namespace, publish_deadline=1.0)) as ingest:
        taken = await asyncio.gather(
            *(ingest.client.post("/webhooks/whapi/m", content=b"%d" % each) for each in range(50))
        )
        own.kill()
        assert Counter(each.status_code for each in taken) == {200: 50}
        answer = await ingest.client.post("/webhooks/whapi/m", content=b"lost")
        assert (answer.status_code, answer.content) == (503, b"")
        await _says(ingest, f"Kafka does not answer at {own.bootstrap}")
        await own.start()
        await _becomes_ready(ingest)
        await _accepts_again(ingest, "m")
        there = Counter(record.value for record in await stored(ingest, "m"))
        assert all(there[b"%d" % each] == 1 for each in range(50))


async def test_a_shutdown_with_a_frozen_kafka_is_bounded(
    freezable: LocalKafka, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With requests in flight to a frozen broker, ingest ends in time and answers them 503."""
    monkeypatch.setattr(app, "LAST_PUBLISH_SECONDS", 0.5)
    async with running(settings(freezable.bootstrap, namespace, publish_deadline=60.0)) as ingest:
        await _accepts_again(ingest, "before")
        freezable.pause()
        try:
            waiting = asyncio.create_task(ingest.client.post("/webhooks/whapi", content=b"x"))
            await _becomes_unready(ingest)
            ingest.stop.set()
            assert (await waiting).status_code == 503
            await asyncio.wait_for(asyncio.shield(ingest.serving), 10)
        finally:
            freezable.resume()


async def test_a_stalled_body_does_not_delay_the_shutdown(
    kafka: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender in the middle of its body soon gets 503 when ingest shuts down."""
    monkeypatch.setattr(app, "LAST_BODY_SECONDS", 0.2)
    async with running(settings(kafka, namespace, receive_deadline=60.0)) as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
        head = "POST /webhooks/whapi HTTP/1.1|host: x|content-length: 9|expect: 100-continue||"
        writer.write(head.replace("|", "\r\n").encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        ingest.stop.set()
        assert await reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
        await ingest.serving
        writer.close()


async def test_a_dead_producer_is_replaced(kafka: str, namespace: str) -> None:
    """When aiokafka's sender task dies, webhooks are accepted again without a restart."""
    async with running(settings(kafka, namespace, publish_deadline=1.0)) as ingest:
        await _accepts_again(ingest, "one")
        [sender] = [
            task for task in asyncio.all_tasks() if "_sender_routine" in repr(task.get_coro())
        ]
        sender.cancel()
        await _accepts_again(ingest, "two")


async def test_one_record_too_large_does_not_affect_the_others(kafka: str, namespace: str) -> None:
    """If the broker's limit is too low, only records above it are refused."""
    given = settings(kafka, namespace)
    await _create_limited(kafka, given.topics.raw("whapi"), 100_000)
    async with running(given) as ingest:
        bodies = [os.urandom(40_000) for _ in range(20)]
        large, *small = await asyncio.gather(
            *(
                ingest.client.post("/webhooks/whapi/m", content=body)
                for body in (os.urandom(200_000), *bodies)
            )
        )
        assert Counter(each.status_code for each in small) == {200: 20}
        assert large.status_code == 503
        there = [record.value for record in await stored(ingest, "m")]
        assert sorted(there) == sorted(bodies)


async def _create_limited(kafka: str, topic: str, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        config = {"max.message.bytes": str(size)}
        await admin.create_topics([NewTopic(topic, 6, 1, topic_configs=config)])
    finally:
        await admin.close()


async def test_too_many_bytes_at_once_are_refused(kafka: str, namespace: str) -> None:
    """The memory of all bodies together is bounded; the sender gets 503."""
    bound = 1024 * 1024
    async with running(settings(kafka, namespace, max_in_flight_bytes=bound)) as ingest:
        size = bound * 3 // 5
        head = b"POST /webhooks/whapi HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        half = head + b"%x\r\n%s\r\n" % (size, b"x" * size)
        ends = [await asyncio.open_connection("127.0.0.1", ingest.port) for _ in range(2)]
        for _, writer in ends:
            writer.write(half)
        answers = {asyncio.create_task(reader.readline()): writer for reader, writer in ends}
        [refused], [waiting] = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result() == b"HTTP/1.1 503 Service Unavailable\r\n"
        answers[waiting].write(b"0\r\n\r\n")
        assert await waiting == b"HTTP/1.1 200 OK\r\n"
        for _, writer in ends:
            writer.close()


async def test_a_missing_topic_is_reported(kafka: str, namespace: str) -> None:
    """Ingest does not start without its topics."""
    with pytest.raises(Problem, match=rf"^the topic {namespace}\.raw\.\w+ does not exist"):
        await _start(settings(kafka, namespace))


async def test_a_wrong_number_of_partitions_is_reported(kafka: str, namespace: str) -> None:
    """The number of partitions must equal the setting."""
    await topics.apply(settings(kafka, namespace, partitions=3))
    with pytest.raises(Problem, match="has 3 partitions, not the 6 of BLUETICK_PARTITIONS"):
        await _start(settings(kafka, namespace))


async def test_a_deleted_topic_makes_it_unready(kafka: str, namespace: str) -> None:
    """Readiness follows the topics, not only the broker."""
    async with running(settings(kafka, namespace)) as ingest:
        await topics.drop(ingest.settings)
        assert "does not exist" in await _becomes_unready(ingest)


async def test_a_topic_that_refuses_all_makes_it_unready(kafka: str, namespace: str) -> None:
    """Kafka answers and the topic exists, but refuses all: unready until it accepts a webhook."""
    async with running(settings(kafka, namespace, publish_deadline=0.7)) as ingest:
        await configure(ingest.settings, {"cleanup.policy": "compact"})

        async def refused() -> bool:  # a compacted topic refuses records without a key
            return (await ingest.client.post("/webhooks/whapi", content=b"x")).status_code == 503

        await until(refused)
        topic = ingest.settings.topics.raw("whapi")
        status, [problem] = await ingest.ready()
        assert status == 503
        assert problem.startswith(f"Kafka does not accept the records for {topic} (")
        assert (await ingest.client.get("/health/ready")).status_code == 503
        await configure(ingest.settings, {"cleanup.policy": "delete"})
        await _accepts_again(ingest, "again")
        assert await ingest.ready() == (200, [])


async def test_a_body_that_is_refused_leaves_it_ready(kafka: str, namespace: str) -> None:
    """Kafka's limit is lower than ingest's: only the sender of a large body gets 503."""
    async with running(settings(kafka, namespace, publish_deadline=0.7)) as ingest:
        await largest(ingest.settings, 1000)

        async def refused() -> bool:  # the broker applies the setting later
            body = secrets.token_bytes(5000)
            return (await ingest.client.post("/webhooks/whapi", content=body)).status_code == 503

        await until(refused)
        assert await ingest.ready() == (200, [])


async def test_an_unreachable_broker_is_reported(namespace: str) -> None:
    """The sentence names the address and its setting."""
    address = f"127.0.0.1:{free_port(0)}"
    with pytest.raises(Problem, match=r"^Kafka .*BLUETICK_KAFKA"):
        await _start(settings(address, namespace))


async def _start(given: Settings) -> None:
    with listen("a test", "127.0.0.1", 0, "BLUETICK_PORT") as listener:
        await server.serve(given, listener, asyncio.Event())


def test_a_port_in_use_is_reported() -> None:
    """The sentence names address and port; ingest does not connect to Kafka."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Problem, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address"):
            server.run(Settings(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_unauthenticated_exposure_is_refused(host: str) -> None:
    """A listening address that other machines can reach requires a sources file."""
    with pytest.raises(Problem, match="BLUETICK_SOURCES"):
        server.run(Settings(host=host))


async def test_sigterm_ends_the_process_in_order(kafka: str, namespace: str) -> None:
    """After SIGTERM it is unready but listens for a while; then it ends without an error."""
    given = settings(kafka, namespace)
    await topics.apply(given)
    port, health_port = free_port(0), free_port(0)
    environment = {
        **os.environ,
        "BLUETICK_KAFKA": kafka,
        "BLUETICK_NAMESPACE": namespace,
        "BLUETICK_PORT": str(port),
        "BLUETICK_INGEST_METRICS_PORT": str(health_port),
        "BLUETICK_DRAIN": "2",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from ingest import server; from service.settings import load; server.run(load())",
        cwd=HOME,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: _listens(port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /webhooks/whapi HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nha")
        await writer.drain()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/health/ready")).json() == {"ready": True}
            process.send_signal(signal.SIGTERM)
            private = f"http://127.0.0.1:{health_port}/health/ready"

            async def shutting_down() -> bool:
                return "ingest is shutting down" in (await client.get(private)).text

            await until(shutting_down)
            answer = await client.get("/health/ready")
            assert (answer.status_code, answer.json()) == (503, {"ready": False})
        for _ in range(150):
            assert await _listens(port)
        writer.write(b"lf")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        assert b"connection: close" in await reader.read()
        writer.close()
        _, errors = await asyncio.wait_for(process.communicate(), 15)
        assert (process.returncode, errors) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
