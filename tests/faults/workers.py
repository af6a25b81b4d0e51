"""Worker processes as in production, and what may happen to them."""

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

# The setting that says where a service answers whether it is ready. Why not, and metrics, are on
# the health address, which ingest has beside it.
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
    """A worker ended although nothing was done to it."""


class Worker:
    """One process; `name` tells it from the others of a trial, and its log is a file."""

    def __init__(
        self, name: str, service: Service, process: Process, *, port: int, log: Path, armed: bool
    ) -> None:
        """`armed`: it has a failpoint, and may die or stand still by itself."""
        self.name = name
        self.service = service
        self.log = log
        self.armed = armed
        self.refuses = False  # set where it must end by itself, aloud
        self._told: set[int] = set()
        self._url = self.health_url = f"http://127.0.0.1:{port}"
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its health answers, and with ingest the webhooks."""
        return self._url

    @property
    def exit_code(self) -> int | None:
        """How it ended: negative if by a signal, None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def kill(self) -> None:
        """SIGKILL, as an accident would."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: it stands still, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, as an orderly end begins."""
        self._signal(signal.SIGTERM)

    @property
    def trouble(self) -> str:
        """What is wrong with how it ended; nothing if that was done to it, or if it runs."""
        fine: set[int | None] = {None}
        if self.armed or signal.SIGKILL in self._told:
            fine.add(-signal.SIGKILL)
        if signal.SIGTERM in self._told:
            # Or so early that it did not listen yet.
            fine |= {0, -signal.SIGTERM}
        if self.refuses:
            fine.add(1)
        if self.exit_code in fine:
            return ""
        return f"{self.name} ended with {self.exit_code}: {self.tail()}"

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        return await self._process.wait()

    async def stop(self, seconds: float = _STOP_SECONDS) -> int:
        """SIGTERM and wait; SIGKILL if that takes too long. Its exit code."""
        self.terminate()
        self.resume()
        try:
            async with asyncio.timeout(seconds):
                return await self.ended()
        except TimeoutError:
            self.kill()
            return await self.ended()

    async def stands(self) -> bool:
        """Wait until it stands still by a SIGSTOP; False if it ended instead."""
        while self.running:
            if _stands(self._process.pid):
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    async def ready(self) -> bool:
        """Whether it says so itself; raises `DiedError` once it has ended."""
        if not self.running:
            raise DiedError(self.trouble or f"{self.name} has been ended")
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                return (await http_client.get(self._url, "/health/ready")).status == OK
        return False

    async def problems(self) -> list[str] | None:
        """What its health says is wrong; None if it does not answer."""
        if not self.running:
            raise DiedError(self.trouble or f"{self.name} has been ended")
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                body = (await http_client.get(self.health_url, "/health/ready")).body
                return list(json.loads(body)["problems"])
        return None

    async def post(self, path: str, body: bytes) -> int:
        """Post a webhook; the status of the answer."""
        connection = http_client.Connection(http_client.Endpoint.of(self._url))
        try:
            headers = {"content-type": "application/json"}
            return (await connection.request("POST", path, headers, body)).status
        finally:
            connection.close()

    async def partitions(self) -> int:
        """How many partitions it works on, all of them ready; 0 if it is not."""
        if not await self.ready():
            return 0
        return int(await self.metric("bluetick_partitions_assigned") or 0)

    async def metric(self, name: str) -> float | None:
        """A metric without labels; None if there is none, or no answer."""
        with suppress(*http_client.Broken):
            async with asyncio.timeout(3):
                text = (await http_client.get(self.health_url, "/metrics")).body.decode()
            for family in text_string_to_metric_families(text):
                if family.name == name:
                    return float(family.samples[0].value)
        return None

    def said(self, words: str) -> int:
        """How often its log has these words."""
        return self.log.read_text(errors="replace").count(words)

    def tail(self) -> str:
        """The end of its log."""
        return "\n    ".join(self.log.read_text(errors="replace").splitlines()[-_TAIL:])

    def _signal(self, number: int) -> None:
        if self.running:
            self._told.add(number)
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
) -> Worker:
    """Start a worker with these settings and nothing else of ours; does not wait for it.

    `sabotage` names a rule that the process is to break: see tests.faults.sabotage. `open_files`
    limits its file descriptors, `extra` are environment variables that are no settings.
    """
    command = [sys.executable, _COMMAND, service]
    if sabotage:
        command = [sys.executable, "-m", "tests.faults.sabotage", sabotage, service]
    if open_files:
        command = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', f"{open_files}", *command]
    ours = {f"BLUETICK_{key.upper()}": _text(value) for key, value in environment.items()}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BLUETICK_")}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *dying_with_parent(command),
            cwd=Path(_COMMAND).parent,
            env={**clean, **ours, **extra, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal reaches the runner alone, which ends what it started.
            start_new_session=True,
        )
    port = int(str(environment[PORTS[service]]))
    metrics = int(str(environment["ingest_metrics_port"])) if service == "ingest" else port
    armed = bool(environment.get("failpoint"))
    worker = Worker(name, service, process, port=port, log=log, armed=armed)
    worker.health_url = f"http://127.0.0.1:{metrics}"
    return worker


def _stands(pid: int) -> bool:
    """Whether one of our children stands still by a SIGSTOP."""
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
