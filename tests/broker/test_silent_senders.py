"""Silent connections, more than a process may open files, do not block other work."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from schemas.codec import encode
from service.settings import Settings
from tests.broker.http_bytes import Head, exchange, statuses
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, read
from tests.broker.running_ingest import until
from tests.e2e.commands import COMMAND, Command, started
from tests.unit.messages import KEY, seen

# The most files a process under test may open, and the number of silent connections.
_FILES = 300
_SILENT = 400


@asynccontextmanager
async def _silent(service: Command, port: int) -> AsyncIterator[None]:
    """Hold connections that send nothing; all of them connect at the same moment."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        service.signal(signal.SIGSTOP)
        try:
            for _ in range(_SILENT):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)  # noqa: FBT003 - its only argument
                await loop.sock_connect(one, ("127.0.0.1", port))
        finally:
            service.signal(signal.SIGCONT)
        yield


@asynccontextmanager
async def _limited(settings: Settings, *arguments: str, **more: str) -> AsyncIterator[Command]:
    """Run a service with a low limit of open files; its output is read meanwhile."""
    named = ("kafka", "namespace", "partitions", "data", "session_timeout", "port")
    ports = ("ingest_metrics_port", "normalise_health_port", "track_health_port")
    given = {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in named + ports}
    limited = ("/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(_FILES), *COMMAND)
    async with started(*limited, *arguments, **given, **more) as service:
        reading = asyncio.create_task(service.ended())
        try:
            yield service
        finally:
            service.interrupt()
            assert await reading == 0, service.output


async def _get(port: int, path: str) -> int:
    """Return the status of a page, fetched over a new connection; 0 without an answer."""
    try:
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.get(f"http://127.0.0.1:{port}{path}")).status_code
    except httpx.TransportError:
        return 0


async def _answers(port: int, path: str) -> None:
    async def answered() -> bool:
        return await _get(port, path) == 200

    await until(answered)


async def _post(port: int, times: int) -> list[int]:
    """Post `times` webhooks, each with its own body and connection; returns the statuses."""
    answered = []
    for number in range(times):
        wire = Head("/webhooks/whapi").sized(b"%d" % number, "connection: close")
        answered += statuses(await exchange(port, [wire]))
    return answered


@pytest.fixture
def placed(settings: Settings) -> Settings:
    """The namespace, with a known port for the metrics of ingest."""
    return settings.model_copy(update={"ingest_metrics_port": free_port(0)})


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_metrics_port_cannot_close_the_webhook_port(
    placed: Settings, workers: str
) -> None:
    """With the metrics port full of silent connections every webhook gets its 200."""
    patient = {"BLUETICK_PUBLISH_DEADLINE": "30"}
    async with _limited(placed, "ingest", "--workers", workers, **patient) as ingest:
        await _answers(placed.port, "/health/ready")
        async with _silent(ingest, placed.ingest_metrics_port):
            assert await _post(placed.port, 50) == [200] * 50
            assert await _get(placed.ingest_metrics_port, "/metrics") == 200


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """A broker for this module, which the tests restart."""
    async with LocalKafka(tmp_path_factory.mktemp("own"), free_port(0)) as kafka:
        yield kafka


@pytest.mark.long
async def test_the_webhook_port_leaves_files_for_kafka_health_and_the_spool(
    own: LocalKafka, placed: Settings, tmp_path: Path
) -> None:
    """With the webhook port full, ingest reconnects to Kafka, spools bodies and answers health."""
    given = placed.model_copy(update={"kafka": own.bootstrap})
    await topics.apply(given)
    spool = {"BLUETICK_SPOOL": str(tmp_path / "spool")}
    async with _limited(given, "ingest", **spool) as ingest:
        await _answers(given.port, "/health/ready")
        async with _silent(ingest, given.port):
            own.kill()
            assert await _post(given.port, 20) == [200] * 20
            assert await _get(given.ingest_metrics_port, "/metrics") == 200
            await own.start()

            async def there() -> bool:
                records = await read(given.kafka, given.topics.raw("whapi"))
                return {record.value for record in records} == {b"%d" % n for n in range(20)}

            await until(there)
            assert await _post(given.port, 20) == [200] * 20


@pytest.mark.parametrize("service", ["normalise", "track"])
async def test_the_health_port_leaves_files_for_the_work(placed: Settings, service: str) -> None:
    """Silent connections held from the start stop neither the probes nor the work."""
    port: int = getattr(placed, f"{service}_health_port")
    async with _limited(placed, service) as worker:
        await _answers(port, "/health/live")
        async with _silent(worker, port):
            await _answers(port, "/health/ready")
            for _ in range(20):
                assert await _get(port, "/health/live") == 200
            await _work(placed, service)
            assert await _get(port, "/metrics") == 200


async def _work(settings: Settings, service: str) -> None:
    """Give a service work, and wait until it is done."""
    now = round(time.time() * 1000)
    record = {
        "normalise": Record(settings.topics.raw("whapi"), 0, None, b"{}"),
        "track": Record(settings.topics.observations, 0, KEY.encode(), encode(seen("sent", now))),
    }
    await write(settings, [record[service]])
    await caught_up_with(settings.kafka, settings.topics, service)
