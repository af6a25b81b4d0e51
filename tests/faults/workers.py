"""Starts worker processes as in production, and signals and queries them."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from prometheus_client.parser import text_string_to_metric_families

import bluetick
from cli.simulator import http_client
from service.child_processes import dying_with_parent

Service = Literal["track", "normalise", "ingest"]

# The setting with the port on which a service answers whether it is ready. The reasons and metrics
# are on the health address; ingest has another port for it.
PORTS: dict[Service, str] = {
    "ingest": "port",
    "normalise": "normalise_health_port",
    "track": "track_health_port",
}

_COMMAND = str(Path(bluetick.__file__).resolve())
OK = 200
_LOOK_SECONDS = 0.05
_STOP_SECONDS = 30
_TAIL = 12
_NOTHING: Mapping[str, str] = MappingProxyType({})


class DiedError(Exception):
    """A worker ended that was not ended on purpose."""


class Worker:
    """One process; `name` is unique in a trial, and `log` is its log file."""

    def __init__(
        self, name: str, service: Service, process: Process, *, port: int, log: Path, armed: bool
    ) -> None:
        """`armed`: it has a failpoint, which may kill or stop it."""
        self.name = name
        self.service = service
        self.log = log
        self.armed = armed
        self.may_refuse = False  # whether it may exit with 1
        self._signals: set[int] = set()
        self._url = self.health_url = f"http://127.0.0.1:{port}"
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        """The base URL of its health, and of ingest's webhooks."""
        return self._url

    @property
    def exit_code(self) -> int | None:
        """Its exit code: negative if by a signal, None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """Send SIGSTOP: it stops, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM, which asks it to stop."""
        self._signal(signal.SIGTERM)

    @property
    def trouble(self) -> str:
        """The error of an unexpected exit; empty if it was ended on purpose, or runs."""
        expected: set[int | None] = {None}
        if self.armed or signal.SIGKILL in self._signals:
            expected.add(-signal.SIGKILL)
        if signal.SIGTERM in self._signals:
            # The signal ends it if it came before the handler was installed.
            expected |= {0, -signal.SIGTERM}
        if self.may_refuse:
            expected.add(1)
        if self.exit_code in expected:
            return ""
        return f"{self.name} ended with {self.exit_code}: {self.tail()}"

    async def ended(self) -> int:
        """Wait for its end; return its exit code."""
        return await self._process.wait()

    async def stop(self, seconds: float = _STOP_SECONDS) -> int:
        """Send SIGTERM and wait; SIGKILL after `seconds`. Return the exit code."""
        self.terminate()
        self.resume()
        try:
            async with asyncio.timeout(seconds):
                return await self.ended()
        except TimeoutError:
            self.kill()
            return await self.ended()

    async def stopped(self) -> bool:
        """Wait until a SIGSTOP has stopped it; False if it ended instead."""
        while self.running:
            if _is_stopped(self._process.pid):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def ready(self) -> bool:
        """Whether its health reports that it is ready; raise `DiedError` if it has ended."""
        if not self.running:
            raise DiedError(self.trouble or f"{self.name} has been ended")
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                return (await http_client.get(self._url, "/health/ready")).status == OK
        return False

    async def problems(self) -> list[str] | None:
        """Return the problems that its health reports; None if it does not answer."""
        if not self.running:
            raise DiedError(self.trouble or f"{self.name} has been ended")
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                body = (await http_client.get(self.health_url, "/health/ready")).body
                return list(json.loads(body)["problems"])
        return None

    async def post(self, path: str, body: bytes) -> int:
        """Post a webhook; return the status of the answer."""
        connection = http_client.Connection(http_client.Endpoint.of(self._url))
        try:
            headers = {"content-type": "application/json"}
            return (await connection.request("POST", path, headers, body)).status
        finally:
            connection.close()

    async def partitions(self) -> int:
        """Return how many partitions it is assigned if all are ready; else 0."""
        if not await self.ready():
            return 0
        return int(await self.metric("bluetick_partitions_assigned") or 0)

    async def metric(self, name: str) -> float | None:
        """Return a metric without labels; None if it is missing, or without an answer."""
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                text = (await http_client.get(self.health_url, "/metrics")).body.decode()
            for family in text_string_to_metric_families(text):
                if family.name == name:
                    return float(family.samples[0].value)
        return None

    def logged(self, words: str) -> int:
        """Return how often its log contains these words."""
        return self.log.read_text(errors="replace").count(words)

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n    ".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])

    def _signal(self, number: int) -> None:
        if self.running:
            self._signals.add(number)
            self._process.send_signal(number)


async def start(
    name: str,
    service: Service,
    environment: Mapping[str, object],
    log: Path,
    *,
    sabotage: str | None = None,
    open_files: int | None = None,
    extra: Mapping[str, str] = _NOTHING,
    checkout: Path | None = None,
) -> Worker:
    """Start a worker with these settings and no others; do not wait for it.

    `checkout` is the directory of other code to run; None: of this code.

    `sabotage` names a rule that the process breaks: see tests.faults.sabotage. `open_files` limits
    its file descriptors. `extra` holds environment variables that are not settings.
    """
    program = Path(_COMMAND) if checkout is None else checkout / Path(_COMMAND).name
    command = [sys.executable, str(program), service]
    if sabotage:
        command = [sys.executable, "-m", "tests.faults.sabotage", sabotage, service]
    if open_files:
        command = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', f"{open_files}", *command]
    given = {"log_format": "console", **environment}
    settings = {f"BLUETICK_{key.upper()}": _text(value) for key, value in given.items()}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BLUETICK_")}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *dying_with_parent(command),
            cwd=program.parent,
            env={**clean, **settings, **extra, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal reaches only the runner, which ends its workers.
            start_new_session=True,
        )
    port = int(str(environment[PORTS[service]]))
    metrics = int(str(environment["ingest_metrics_port"])) if service == "ingest" else port
    armed = bool(environment.get("failpoint"))
    worker = Worker(name, service, process, port=port, log=log, armed=armed)
    worker.health_url = f"http://127.0.0.1:{metrics}"
    return worker


def _is_stopped(pid: int) -> bool:
    """Whether a SIGSTOP has stopped a child process."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
