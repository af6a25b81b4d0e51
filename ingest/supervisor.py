"""Several ingest processes on one port: a supervisor that starts them, and again when they die.

It listens, and they inherit the socket: whoever is free accepts, and what waits in its queue is
nobody's yet, so one that ends takes no connection with it (docs/decisions/0011-balancer.md).
"""

import asyncio
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ingest import metrics, metrics_server
from ingest.health import LEAVING, Health, together
from ingest.metrics_server import exposed
from ingest.server import refuse_exposure
from ingest.sources.loader import secret_variables
from service import child_environment, child_processes
from service.child_processes import Child, lines
from service.errors import Problem
from service.http.server import address_of, listen, logged
from service.settings import Settings
from service.signals import stop_on_signals

# A worker that serves reports its health every second; one that is silent for so long is stuck.
SILENT_SECONDS = 10.0

_OUTPUT = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STOP_SECONDS = 6.8  # beside the drain: with that, and its default, ten at most

# How the command line begins the one sentence it ends with.
_COMPLAINT = "bluetick: "

_log = logging.getLogger(__name__)

Command = Callable[[int], Sequence[str]]
"""How to start a worker, given the file number of the socket it inherits."""


def report(health: Health) -> None:
    """Print a worker's health for its supervisor, a line each, without ever waiting for it."""
    os.set_blocking(_OUTPUT, False)
    with suppress(BlockingIOError):  # a line that fits a pipe is written whole or not at all
        os.write(_OUTPUT, msgspec.json.encode(health) + b"\n")


def pause(failures: int) -> float:
    """Seconds until a worker is started again, after so many in a row that never served."""
    return min(_FIRST_PAUSE * (1 << min(failures, 10)), _LONGEST_PAUSE)


def run(settings: Settings, count: int, command: Command) -> None:
    """Keep `count` workers running until SIGTERM or SIGINT; `Problem` if none can begin."""
    refuse_exposure(settings)
    with (
        metrics.shared(),
        listen("ingest", settings.host, settings.port, "BLUETICK_PORT") as listener,
        metrics_server.listen(settings) as private,
    ):
        patience = settings.drain + _STOP_SECONDS
        supervisor = _Supervisor(
            count, command(listener.fileno()), listener, patience, sources=settings.sources
        )
        asyncio.run(_supervise(settings, supervisor, address_of(listener), private))


async def _supervise(
    settings: Settings, supervisor: "_Supervisor", webhooks: str, private: socket.socket
) -> None:
    async with exposed(private, supervisor.health):
        with logged("ingest", settings, webhooks=webhooks, health=address_of(private)) as end:
            end.reason = await supervisor.run()


class _Supervisor:
    """The workers, each kept by a task of its own."""

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        listener: socket.socket,
        patience: float,
        *,
        sources: Path | None = None,
    ) -> None:
        self._sources = sources
        self._command = command
        self._listener = listener
        self._patience = patience
        self._untried = set(range(1, count + 1))
        self._complaint = ""
        self._served = False
        self._leaving = False
        self._running: set[_Worker] = set()

    def health(self) -> Health:
        """What the workers that serve report, together."""
        if self._leaving:
            return Health((LEAVING,))
        now = asyncio.get_running_loop().time()
        silent = [
            f"the worker with process id {one.pid} is stuck: no report for {SILENT_SECONDS:g} s"
            for one in self._running
            if one.health and now - one.reported_at > SILENT_SECONDS
        ]
        return together([one.health for one in self._running if one.health], silent)

    async def run(self) -> str:
        """Keep the workers until a signal; returns the reason to stop, or raises `Problem`."""
        stop = stop_on_signals()
        keeping = {asyncio.create_task(self._keep(number)) for number in sorted(self._untried)}
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({stopping, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        self._leaving = True
        # The workers take what comes until they stop listening; from then on it must be refused,
        # not wait in the queue of a socket from which nobody accepts.
        self._listener.close()
        for task in (stopping, *keeping):
            task.cancel()
        await asyncio.gather(stopping, *keeping, return_exceptions=True)
        for task in done - {stopping}:
            task.result()
        return stop.reason

    async def _keep(self, number: int) -> None:
        """One worker after the other; whoever cancels this, ends the last one."""
        failures = 0
        while True:
            served, why = await self._one()
            self._untried.discard(number)
            if not self._served and not self._untried:
                raise Problem(self._complaint or "no worker could start; the log above says why")
            seconds = pause(failures)
            failures = 0 if served else failures + 1
            _log.error("worker %d ended: %s; another one starts in %g s", number, why, seconds)
            await asyncio.sleep(seconds)

    async def _one(self) -> tuple[bool, str]:
        """A worker from its start to its end: whether it served, and why it ended."""
        try:
            process = await self._start()
        except OSError as error:  # no memory, process or file left now: the others go on
            why = f"it cannot be started ({error})"
            self._complaint = self._complaint or f"a worker failed: {why}"
            return False, why
        worker = _Worker(process)
        self._running.add(worker)
        try:
            await worker.wait()
        finally:
            await worker.end(self._patience)
            self._running.discard(worker)
            metrics.forget(worker.pid)
        self._served = self._served or worker.served
        self._complaint = self._complaint or worker.complaint
        return worker.served, worker.why()

    def _needed(self) -> frozenset[str]:
        """The variables a worker needs beside settings: where it counts, and its secrets."""
        return secret_variables(self._sources) | {metrics.SHARED}

    async def _start(self) -> Process:
        return await child_processes.start(
            self._command,
            child_environment.service(os.environ, self._needed()),
            keep=[self._listener.fileno()],
        )


class _Worker(Child):
    """One process: the health it reports, and what it complained of. Its log is passed on."""

    def __init__(self, process: Process) -> None:
        super().__init__(process, self._read_output(process), self._read_log(process))
        self.health: Health | None = None  # until it serves
        self.reported_at = 0.0
        self.complaint = ""

    @property
    def served(self) -> bool:
        return self.health is not None

    def why(self) -> str:
        return self.complaint or f"process {self.pid}, code {self.exit_code}"

    async def _read_output(self, process: Process) -> None:
        async for line in lines(process.stdout):
            with suppress(msgspec.DecodeError):
                self.health = msgspec.json.decode(line, type=Health)
                self.reported_at = asyncio.get_running_loop().time()

    async def _read_log(self, process: Process) -> None:
        async for line in lines(process.stderr):
            text = line.decode(errors="replace")
            if text.startswith(_COMPLAINT):
                self.complaint = text.removeprefix(_COMPLAINT).strip()
            else:
                with suppress(OSError):  # nobody reads our log; the worker must not wait for that
                    sys.stderr.write(text)
