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
# Settings that a single node needs, and settings for a quick start.
SINGLE_NODE: Mapping[str, str] = {
    "auto.create.topics.enable": "false",
    # After a crash the broker can register again once its old session has expired; default 9 s.
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
# C1 alone starts a second faster, and on two cores 400 k records took less CPU than with C2.
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

# Free ports are drawn from below Linux's ephemeral range. A client that retries a port of that
# range, while its broker is down, may be assigned this port itself.
_FIRST_PORT, _PORTS = 20_000, 12_000
_TRIES = 50
# The caller binds its port later. Until then the UDP port of the same number stays bound, so that
# no other caller, in any process, gets the same port.
_reserved: deque[int] = deque()
_MOST_RESERVED = 64


def _silent(_: str) -> None:
    pass


class LocalKafka:
    """One Kafka broker with its data in a directory; `async with LocalKafka(data) as kafka: ...`.

    `port` 0 picks a free port at the first start; later starts of the same object keep it. A data
    directory may be started again on another port. `progress` receives one short line at a time.
    `cache` is the directory of the jars, by default in the user's cache. `proxied` is the port of a
    proxy in front of this broker: it is the advertised address for clients at `proxied_port`.
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
        """The address for clients: "127.0.0.1:<port>". The port is known once started."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the broker; raises RuntimeError if it is not started."""
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
        """Start the broker and wait for its answer; raise Problem, with no process left, if not."""
        if self._process:
            raise RuntimeError("This Kafka is already started; stop or kill it first.")
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
        """Stop the broker cleanly, by SIGKILL after 15 s. Does nothing if it is not started."""
        if self._process:
            try:
                await child_processes.end(self._process, _STOP_SECONDS)
            finally:
                self._process = None

    def kill(self) -> None:
        """End the broker by SIGKILL, like a crash. Does nothing if it is not started."""
        if self._process:
            child_processes.kill(self._process)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: no answers, and connections stay open. Returns once the process has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        # The threads stop one after the other; until the last has, a request may be answered.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Continue a paused broker (SIGCONT)."""
        self._started().send_signal(signal.SIGCONT)

    def _started(self) -> subprocess.Popen[bytes]:
        if not self._process:
            raise RuntimeError("This Kafka is not started.")
        return self._process

    async def _java(self) -> list[str]:
        """Return the command line up to the main class."""
        java = await asyncio.to_thread(find_java)
        jars = await kafka_jars(self._cache or cache_directory(), self._progress)
        # Kafka's compression libraries unpack themselves here, and a crash leaves the files.
        scratch = self._data / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return [java, *_JVM, f"-Djava.io.tmpdir={scratch}", "-cp", os.pathsep.join(map(str, jars))]

    def _properties(self, logs: Path) -> str:
        """Write the configuration of this run and return its name.

        The voters are listed here, not in the metadata log, so both ports may change with each
        run. The log directory is relative to the broker's own, because properties files are Latin-1
        and `log.dirs` is split at commas.
        """
        settings = {**self._settings(), "log.dirs": logs.name}
        if self.proxied:
            # Kafka returns to a client the advertised address of the listener it used.
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
        """Create the log directory, once. It is renamed when complete: no partial one is used."""
        if self._logs.exists():
            return
        self._progress("formatting")
        fresh = self._data / "formatting"
        shutil.rmtree(fresh, ignore_errors=True)
        config = self._properties(fresh)
        # With "=": one id in 64 starts with a dash and would be parsed as an option.
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
        """Wait until the broker ends by itself; return a Problem with the end of its log."""
        while await child_processes.exit_code(self._started(), _WATCH_SECONDS) is None:
            pass
        return self._failure("Kafka ended")

    def _failure(self, what: str) -> Problem:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return Problem("local_kafka_failed", what=what, log=str(self.log), lines=lines)


async def answered(
    bootstrap: str, seconds: float, alive: Callable[[], bool] = lambda: True
) -> bool:
    """Wait until a broker answers; return False after `seconds`, or if it is not `alive`."""
    deadline = time.monotonic() + seconds
    while not await _answers(bootstrap):
        if not alive() or time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


async def _answers(bootstrap: str) -> bool:
    """Whether a broker at "host:port" accepts connections and lists brokers in its metadata."""
    host, _, port = bootstrap.rpartition(":")
    try:
        # The client logs a refused connection as an error, so try a connection first.
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
    """Lock the data directory; a broker that inherits the descriptor holds the lock until it ends.

    The kernel releases the lock when the last process with the descriptor ends, so no lock is
    stale. The file contains the broker's process id, for people.
    """
    lock = os.open(data / "lock", os.O_RDWR)
    try:
        _lock(lock, data)
        yield lock
    finally:
        os.close(lock)


def _lock(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode() or "still starting"
        raise Problem("data_in_use", directory=str(data), owner=owner) from None
    os.truncate(lock, 0)


def free_port(port: int, who: str = "Kafka") -> int:
    """Return `port` if `who` can listen on it; for 0 return a free port."""
    if port:
        return _bindable(port, who)
    for _ in range(_TRIES):
        with contextlib.suppress(Problem, OSError):
            drawn = _bindable(_FIRST_PORT + secrets.randbelow(_PORTS), who)
            _reserve(drawn)
            return drawn
    return _bindable(0, who)


def _reserve(port: int) -> None:
    """Reserve a port for this process; raise `OSError` if any process has reserved it."""
    if len(_reserved) == _MOST_RESERVED:
        os.close(_reserved.popleft())
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, port))
        _reserved.append(one.detach())


def _bindable(port: int, who: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise Problem("port_refused", service=who, host=HOST, port=port, why=str(why)) from None
        return int(probe.getsockname()[1])
