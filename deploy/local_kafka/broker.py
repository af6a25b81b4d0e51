"""A real Apache Kafka on this machine: one KRaft node on loopback, without Docker or Maven."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local_kafka.jars import VERSION, cache_directory, kafka_jars
from deploy.local_kafka.java import find_java
from service import child_processes, private_files
from service.errors import Problem

HOST = "127.0.0.1"
# What one node needs that a cluster does not, and what makes it quick to start.
SINGLE_NODE: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    # After a crash the broker is let in again only when its old session is over; default 9 s.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "group.initial.rebalance.delay.ms": "100",
    "log.cleaner.dedupe.buffer.size": "33554432",  # the default is a quarter of the heap
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
}
# C1 alone starts a second sooner, and on two cores it served 400 k records with less CPU than C2.
_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_CONFIG = "server.properties"
_FORMAT_SECONDS = 60
_START_SECONDS = 90
_STOP_SECONDS = 15
_LOOK_SECONDS = 0.05
_WATCH_SECONDS = 0.5
_LOG_LINES = 15

# Free ports are taken from below the range that Linux gives to clients: one that keeps trying a
# port of that range, while its broker is away, is given that very port itself some time.
_FIRST_PORT, _PORTS = 20_000, 12_000
_TRIES = 50
# Who is given a port needs it some time later: until then the UDP port of the same number is kept,
# so that nobody else who looks for one, in whatever process, is given it as well.
_kept: deque[int] = deque()
_MOST_KEPT = 64


def _silent(_: str) -> None:
    pass


class LocalKafka:
    """One Kafka broker with its data in a directory; `async with LocalKafka(data) as kafka: ...`.

    `port` 0 picks a free port at the first start; later starts of the same object keep it. A data
    directory may be started again on another port. `progress` receives one short line at a time.
    `cache` is where the jars are kept, by default the user's cache directory. `proxied` is the port
    of a proxy in front of this broker: clients that come in at `proxied_port` are sent back there.
    """

    def __init__(
        self,
        data: Path,
        port: int = 0,
        *,
        progress: Callable[[str], None] = _silent,
        cache: Path | None = None,
        proxied: int = 0,
    ) -> None:
        self._data = data.absolute()
        self._progress = progress
        self._cache = cache
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.proxied = proxied
        self.proxied_port = 0

    @property
    def bootstrap(self) -> str:
        """Where clients connect: "127.0.0.1:<port>". The port is known once started."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the broker; a RuntimeError when none was started."""
        return self._started().pid

    @property
    def log(self) -> Path:
        """The broker's log; every start appends to it."""
        return self._data / "kafka.log"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Return when the broker answers. Raises Problem when it cannot; then nothing runs."""
        if self._process:
            raise RuntimeError("This Kafka is started already; stop or kill it first.")
        began = time.monotonic()
        _make_writable(self._data)
        with _owned(self._data) as lock:
            self.port = free_port(self.port)
            if self.proxied:
                self.proxied_port = free_port(self.proxied_port)
            java = await self._java()
            await self._format(java)
            self._progress(f"starting Kafka {VERSION}")
            await self._run(java, lock)
        self._progress(f"ready in {time.monotonic() - began:.1f} s")

    async def stop(self) -> None:
        """End the broker in good order, by force after 15 s. Does nothing when none is started."""
        if self._process:
            try:
                await child_processes.end(self._process, _STOP_SECONDS)
            finally:
                self._process = None

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL). Does nothing when none is started."""
        if self._process:
            child_processes.kill(self._process)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: it answers nothing, and its connections stay open. Returns once it stands."""
        os.kill(self.pid, signal.SIGSTOP)
        # The threads stop one after the other; until the last has, a request may be answered.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT)."""
        self._started().send_signal(signal.SIGCONT)

    def _started(self) -> subprocess.Popen[bytes]:
        if not self._process:
            raise RuntimeError("This Kafka is not started.")
        return self._process

    async def _java(self) -> list[str]:
        """Return the command line up to the main class."""
        java = await asyncio.to_thread(find_java)
        jars = await kafka_jars(self._cache or cache_directory(), self._progress)
        # Kafka's compression libraries unpack themselves here; a crash would leave them behind.
        scratch = self._data / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return [java, *_JVM, f"-Djava.io.tmpdir={scratch}", "-cp", os.pathsep.join(map(str, jars))]

    def _properties(self, logs: Path) -> str:
        """Write the configuration of this run and return its name.

        The voters are listed here and not kept in the metadata log, so both ports may change from
        run to run. The directory is named from the broker's own (the data directory), since
        properties files are Latin-1 and `log.dirs` is split at commas.
        """
        settings = {**self._settings(), "log.dirs": logs.name}
        if self.proxied:
            # A client is told the address that belongs to the listener it came in by.
            settings["listeners"] += f",PROXIED://{HOST}:{self.proxied_port}"
            settings["advertised.listeners"] += f",PROXIED://{HOST}:{self.proxied}"
            settings["listener.security.protocol.map"] = (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"
            )
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self._data / _CONFIG).write_text(lines)
        return _CONFIG

    def _settings(self) -> dict[str, str]:
        controller = f"{HOST}:{free_port(0)}"
        return {
            **SINGLE_NODE,
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@{controller}",
        }

    def _cluster_id(self) -> str:
        return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    async def _format(self, java: list[str]) -> None:
        """Make the log directory, once. It is moved into place whole, so no half can be met."""
        if self._logs.exists():
            return
        self._progress("formatting")
        fresh = self._data / "formatting"
        shutil.rmtree(fresh, ignore_errors=True)
        config = self._properties(fresh)
        # With "=", since one id in 64 starts with a dash and would be taken for an option.
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self._cluster_id()}",
            f"--config={config}",
        ]
        running = child_processes.spawn([*java, *tool], self.log)
        try:
            code = await child_processes.exit_code(running, _FORMAT_SECONDS)
        finally:
            child_processes.kill(running)
        if code != 0:
            raise self._failure("Kafka could not format its data directory")
        fresh.rename(self._logs)

    @property
    def _logs(self) -> Path:
        return self._data / "log"

    async def _run(self, java: list[str], lock: int) -> None:
        config = self._properties(self._logs)
        self._process = child_processes.spawn([*java, "kafka.Kafka", config], self.log, keep=[lock])
        try:
            os.pwrite(lock, str(self.pid).encode(), 0)
            await self._wait_for_answer()
        except BaseException:
            self.kill()
            raise

    async def _wait_for_answer(self) -> None:
        broker = self._started()
        if await answered(self.bootstrap, _START_SECONDS, lambda: broker.poll() is None):
            return
        if broker.returncode is not None:
            raise self._failure("Kafka ended while it was starting")
        raise self._failure(f"Kafka did not answer within {_START_SECONDS} s")

    async def died(self) -> Problem:
        """Wait until the broker ends by itself; says so."""
        while await child_processes.exit_code(self._started(), _WATCH_SECONDS) is None:
            pass
        return self._failure("Kafka ended")

    def _failure(self, what: str) -> Problem:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return Problem("local_kafka_failed", what=what, log=str(self.log), lines=lines)


async def answered(
    bootstrap: str, seconds: float, alive: Callable[[], bool] = lambda: True
) -> bool:
    """Wait until a broker answers; False when the time is up or `alive` says it never will."""
    deadline = time.monotonic() + seconds
    while not await _answers(bootstrap):
        if not alive() or time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


async def _answers(bootstrap: str) -> bool:
    """Whether a broker at "host:port" accepts connections and knows itself a member."""
    host, _, port = bootstrap.rpartition(":")
    try:
        # The client logs a refused connection as an error, so look before asking it.
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
    except OSError:
        return False
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def _make_writable(data: Path) -> None:
    try:
        private_files.directory(data)
        private_files.tighten(data)
        (data / "lock").touch()
    except OSError as error:
        raise Problem("data_not_writable", directory=str(data), why=error.strerror) from None


@contextlib.contextmanager
def _owned(data: Path) -> Iterator[int]:
    """Lock the data directory; a broker that inherits the descriptor holds the lock till it ends.

    The kernel lets go when the last process that has the descriptor is gone, so there are no stale
    locks. The file names the broker's process, for people.
    """
    lock = os.open(data / "lock", os.O_RDWR)
    try:
        _take(lock, data)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode() or "still starting"
        raise Problem("data_in_use", directory=str(data), owner=owner) from None
    os.truncate(lock, 0)


def free_port(port: int, who: str = "Kafka") -> int:
    """Return that port if `who` can listen on it, or some free port for 0."""
    if port:
        return _bindable(port, who)
    for _ in range(_TRIES):
        with contextlib.suppress(Problem, OSError):
            drawn = _bindable(_FIRST_PORT + secrets.randbelow(_PORTS), who)
            _keep(drawn)
            return drawn
    return _bindable(0, who)


def _keep(port: int) -> None:
    """Keep a port for this process; raises `OSError` if another one, or this one, has it."""
    if len(_kept) == _MOST_KEPT:
        os.close(_kept.popleft())
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, port))
        _kept.append(one.detach())


def _bindable(port: int, who: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise Problem("port_refused", service=who, host=HOST, port=port, why=str(why)) from None
        return int(probe.getsockname()[1])
