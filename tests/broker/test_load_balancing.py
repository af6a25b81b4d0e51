"""Several ingest processes behind a real HAProxy, or under one supervisor, restarted under load."""

import asyncio
import csv
import os
import re
import shutil
import signal
import ssl
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy import topics
from deploy.local_kafka.broker import free_port
from schemas.topics import MAX_BODY
from service.settings import Settings
from tests import HOME
from tests.broker import running_ingest
from tests.broker.http_bytes import Head, connect, exchange, statuses
from tests.broker.reading import read
from tests.e2e.commands import COMMAND, left_behind

_CONFIGURATION = HOME / "deploy" / "haproxy.cfg"
_SENDERS = 8
_DRAIN = "2"
_USUAL = re.compile(
    r"^\S+ INFO +bluetick: ingest\b.* (?:starting: .*|stopped: SIGTERM)\n", re.MULTILINE
)


@pytest.fixture
async def given(kafka: str, namespace: str) -> AsyncIterator[Settings]:
    """A namespace with its topics; `_environment` passes it to the processes."""
    made = running_ingest.settings(kafka, namespace)
    await topics.apply(made)
    yield made
    await topics.drop(made)


class Ingest:
    """One `bluetick ingest` that can be restarted."""

    def __init__(self, settings: Settings, port: int, *options: str) -> None:
        self.port = port
        self._settings = settings
        self._options = options
        self.process: Process

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "ingest",
            *self._options,
            env=_environment(self._settings, self.port),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        await running_ingest.until(lambda: _ready(self.port))

    async def end(self, number: int) -> tuple[int | None, str]:
        """Send a signal; returns the exit code, and the log without starts and regular stops."""
        self.process.send_signal(number)
        output, _ = await asyncio.wait_for(self.process.communicate(), 15)
        return self.process.returncode, _USUAL.sub("", output.decode())


@asynccontextmanager
async def _started(settings: Settings, *options: str) -> AsyncIterator[Ingest]:
    ingest = Ingest(settings, free_port(0), *options)
    try:
        await ingest.start()
        yield ingest
    finally:
        if ingest.process.returncode is None:
            ingest.process.kill()
            await ingest.process.communicate()


def _environment(settings: Settings, port: int) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("BLUETICK_")}
    return {
        **others,
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PORT": str(port),
        "BLUETICK_INGEST_METRICS_PORT": "0",
        "BLUETICK_DRAIN": _DRAIN,
        "BLUETICK_LOG_FORMAT": "console",
    }


async def _ready(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success
        except httpx.TransportError:
            return False


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy: its port, its statistics socket, and the TLS context for it."""

    port: int
    control: Path
    trusting: ssl.SSLContext

    async def sees_both(self) -> None:
        """Wait until it considers both servers ready."""
        await self._sees("status", ["UP", "UP"])

    async def sees_busy(self, requests: list[str]) -> None:
        """Wait until its servers have these numbers of requests, the lower one first."""
        await self._sees("scur", requests)

    async def _sees(self, field: str, wanted: list[str]) -> None:
        async def seen() -> bool:
            return sorted(row[field] for row in await self._servers()) == wanted

        await running_ingest.until(seen)

    async def _servers(self) -> list[dict[str, str]]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.control)
        except OSError:  # it is just starting
            return []
        writer.write(b"show stat\n")
        table = (await reader.read()).decode().removeprefix("# ")
        writer.close()
        return [row for row in csv.DictReader(table.splitlines()) if row["svname"] in ("a", "b")]


@asynccontextmanager
async def _balanced(folder: Path, *ports: int) -> AsyncIterator[Balancer]:
    """Run HAProxy with the repository's configuration, in front of two instances."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        assert "CI" not in os.environ, "haproxy is not installed"
        pytest.skip("haproxy is not installed")
    certificate, trusting = await _certificate(folder)
    balancer = Balancer(free_port(0), folder / "control", trusting)
    more = folder / "control.cfg"
    more.write_text(f"global\n  stats socket {balancer.control} level user\n")
    servers = dict(zip(("INGEST_A", "INGEST_B"), (f"127.0.0.1:{p}" for p in ports), strict=True))
    process = await asyncio.create_subprocess_exec(
        *(program, "-db", "-f", str(_CONFIGURATION), "-f", str(more)),
        env={
            **os.environ,
            **servers,
            "BALANCER": f"127.0.0.1:{balancer.port}",
            "CERTIFICATE": str(certificate),
        },
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        await balancer.sees_both()
        yield balancer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate and key for this machine in one file, and a context that trusts it."""
    certificate, key, both = (folder / name for name in ("cert.pem", "key.pem", "both.pem"))
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext"),
        *("subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        stderr=DEVNULL,
    )
    assert await made.wait() == 0
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both, ssl.create_default_context(cafile=str(certificate))


class Load:
    """Senders that post one webhook after the other, each with a unique body."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self.answers: Counter[str] = Counter()
        self.taken: list[bytes] = []
        self._url = f"http{'s' if tls else ''}://127.0.0.1:{port}/webhooks/whapi"
        self._verify = tls or False
        self._enough = asyncio.Event()

    async def send(self, name: int) -> None:
        """Half of the senders keep their connection, half open a new one each time."""
        kept = {"connection": "close"} if name % 2 else {}
        async with httpx.AsyncClient(timeout=60, headers=kept, verify=self._verify) as client:
            number = 0
            while not self._enough.is_set():
                body = b"%d-%d" % (name, number)
                number += 1
                try:
                    answer = await client.post(self._url, content=body)
                except httpx.TransportError as error:
                    self.answers[repr(error)] += 1
                    continue
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    self.taken.append(body)

    async def more(self) -> None:
        """Wait until more webhooks have been sent."""
        wanted = self.answers.total() + 20 * _SENDERS

        async def there() -> bool:
            return self.answers.total() >= wanted

        await running_ingest.until(there)

    def stop(self) -> None:
        self._enough.set()


@asynccontextmanager
async def _load(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Load]:
    load = Load(port, tls)
    async with asyncio.TaskGroup() as group:
        for name in range(_SENDERS):
            group.create_task(load.send(name))
        try:
            yield load
        finally:
            load.stop()


async def _stored(settings: Settings) -> Counter[bytes]:
    records = await read(settings.kafka, settings.topics.raw("whapi"))
    return Counter(record.value for record in records)


@pytest.mark.long
async def test_a_rolling_restart_fails_no_webhook(given: Settings, tmp_path: Path) -> None:
    """Each of two instances is stopped and restarted: all get 200, each is stored once."""
    async with (
        _started(given) as one,
        _started(given) as other,
        _balanced(tmp_path, one.port, other.port) as balancer,
        _load(balancer.port, balancer.trusting) as load,
    ):
        for ingest in (one, other):
            await load.more()
            assert await ingest.end(signal.SIGTERM) == (0, "")
            await load.more()
            await ingest.start()
            await balancer.sees_both()
    assert set(load.answers) == {"200"}
    assert await _stored(given) == Counter(load.taken)


async def test_a_killed_instance_fails_no_webhook(given: Settings, tmp_path: Path) -> None:
    """Unanswered requests go to the other instance; stored ones may be stored twice."""
    async with (
        _started(given) as one,
        _started(given) as other,
        _balanced(tmp_path, one.port, other.port) as balancer,
        _load(balancer.port, balancer.trusting) as load,
    ):
        await load.more()
        assert await one.end(signal.SIGKILL) == (-signal.SIGKILL, "")
        await load.more()
    assert set(load.answers) == {"200"}
    there = await _stored(given)
    assert there.keys() == set(load.taken)


async def test_the_balancer_forwards_the_largest_bodies(given: Settings, tmp_path: Path) -> None:
    """The largest body is forwarded; one too long for a second try fails with its instance."""
    async with (
        _started(given) as one,
        _started(given) as other,
        _balanced(tmp_path, one.port, other.port) as balancer,
    ):
        large = Head("/webhooks/whapi").sized(bytes(MAX_BODY), "connection: close")
        assert statuses(await exchange(balancer.port, [large], tls=balancer.trusting)) == [200]
        ends = []
        for busy in (["0", "1"], ["1", "1"]):  # one on each instance
            reader, writer = await connect(balancer.port, balancer.trusting)
            ends.append((reader, writer))
            writer.write(large[:-1])
            await balancer.sees_busy(busy)
        await one.end(signal.SIGKILL)
        for _, writer in ends:
            writer.write(large[-1:])
        answered = [statuses(await _to_the_end(reader)) for reader, _ in ends]
        # Its 502 is lost if the sender was still sending when HAProxy had closed.
        answered.remove([200])
        assert answered in ([[502]], [[]])
        for _, writer in ends:
            writer.close()
    assert await _stored(given) == {bytes(MAX_BODY): 2}


async def _to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Return everything up to the close; nothing if the connection broke while sending."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_the_balancer_forwards_webhooks_only(given: Settings, tmp_path: Path) -> None:
    """It answers every other path itself: senders must not reach ingest's pages."""
    async with (
        _started(given) as one,
        _started(given) as other,
        _balanced(tmp_path, one.port, other.port) as balancer,
    ):

        async def answer(head: Head) -> list[int]:
            wire = [head.sized(b"", "connection: close")]
            return statuses(await exchange(balancer.port, wire, tls=balancer.trusting))

        others = ("/", "/health/ready", "/health/live", "/metrics", "/webhooks", "/Webhooks/whapi")
        hidden = ("//webhooks/whapi", "/health/../webhooks/whapi", "/%77ebhooks/whapi")
        for path in others + hidden:
            assert await answer(Head(path, method="GET")) == [404], path
        assert await answer(Head("/webhooks/../health/ready", method="GET")) == [404]
        assert await answer(Head("/webhooks/unknown")) == [404]
        assert await answer(Head("/webhooks/whapi")) == [200]


async def test_the_balancer_terminates_tls(given: Settings, tmp_path: Path) -> None:
    """It accepts TLS 1.2 and 1.3 with forward secrecy, and no plain HTTP."""
    async with (
        _started(given) as one,
        _started(given) as other,
        _balanced(tmp_path, one.port, other.port) as balancer,
    ):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            balancer.trusting.minimum_version = balancer.trusting.maximum_version = version
            _, writer = await connect(balancer.port, balancer.trusting)
            name, *_ = writer.get_extra_info("cipher")
            assert name.startswith(("ECDHE-", "TLS_"))
            writer.close()
        plain = Head("/webhooks/whapi").sized(b"", "connection: close")
        assert b"200" not in await exchange(balancer.port, [plain])


@pytest.mark.long
async def test_workers_that_end_are_replaced(given: Settings) -> None:
    """A stopped worker loses no webhook; a killed one is logged and replaced; all end in time."""
    async with _started(given, "--workers", "2") as ingest:
        async with _load(ingest.port) as load:
            await load.more()
            first, *_ = gone = await _workers(given, 2)
            os.kill(first, signal.SIGTERM)
            now = await _workers(given, 2, without=gone[:1])
            await load.more()
        assert set(load.answers) == {"200"}
        assert await _stored(given) == Counter(load.taken)
        os.kill(now[0], signal.SIGKILL)
        await _workers(given, 2, without=now[:1])
        code, output = await ingest.end(signal.SIGTERM)
        assert (code, output.count("another one starts in 0.5 s")) == (0, 2)
        assert f"process {now[0]}, code -9" in output
    assert left_behind(given.namespace) == {}


async def test_a_port_without_a_server_refuses_connections(given: Settings) -> None:
    """While workers finish their requests, no connection waits in a queue that is discarded."""
    async with _started(given, "--workers", "2") as ingest:
        await _workers(given, 2)
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(ingest.end(signal.SIGTERM))
            with pytest.raises(ConnectionRefusedError):
                await _post_for_ever(ingest.port)
            assert any("--inherited" in line for line in left_behind(given.namespace).values())
        assert ending.result() == (0, "")


async def test_no_worker_outlives_its_supervisor(given: Settings) -> None:
    """SIGKILL of the supervisor ends the workers too."""
    async with _started(given, "--workers", "2") as ingest:
        await _workers(given, 2)
        await ingest.end(signal.SIGKILL)

    async def all_gone() -> bool:
        return not left_behind(given.namespace)

    await running_ingest.until(all_gone)


async def test_workers_that_cannot_start_report_the_reason_once(
    given: Settings, namespace: str
) -> None:
    """Exit code 1 and the sentence of the first worker, if none has ever served."""
    await topics.drop(given)
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "ingest", "--workers", "2"),
        env=_environment(given, 0),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    *log, last = output.decode().splitlines()
    assert process.returncode == 1
    assert last.startswith(f"bluetick: the topic {namespace}.raw.")
    assert not [line for line in log if line.startswith("bluetick: ")]


async def _post_for_ever(port: int) -> None:
    while True:
        reader, writer = await connect(port)
        # The system resets a connection that arrived while the last worker was closing the port.
        with suppress(ConnectionError):
            writer.write(Head("/webhooks/whapi").sized(b"{}", "connection: close"))
            await reader.read()
        writer.close()


async def _workers(settings: Settings, count: int, without: list[int] | None = None) -> list[int]:
    """Wait for `count` serving workers, none of `without`; returns their process ids."""
    found: list[int] = []

    async def there() -> bool:
        lines = left_behind(settings.namespace)
        found[:] = [
            pid
            for pid, line in lines.items()
            if "--inherited" in line and "die_with_parent" not in line
        ]
        return len(found) == count and not set(found) & set(without or ())

    await running_ingest.until(there)
    return found
