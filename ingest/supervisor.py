"""The supervisor of several ingest processes on one port: it starts them, and restarts them.

The supervisor listens and the workers inherit the socket. A free worker accepts the next
connection. Connections in the socket's queue belong to no worker yet, so a worker that ends loses
none of them (docs/decisions/0011-balancer.md).
"""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from ingest import metrics, metrics_server
from ingest.health import SHUTTING_DOWN, Health, together
from ingest.metrics_server import exposed
from ingest.server import refuse_exposure
from ingest.sources.loader import secret_variables
from service import child_environment, child_processes, log_lines
from service.child_processes import Child, lines
from service.errors import Problem
from service.http.server import address_of, listen, logged
from service.logger import logger
from service.problem_pipe import ProblemPipe
from service.settings import Settings
from service.signals import stop_on_signals

# A worker that serves reports its health every second; one without a report for this long is stuck.
SILENT_SECONDS = 10.0

_OUTPUT = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STOP_SECONDS = 6.8  # in addition to the drain: at most 10 s with its default

_log = logger(__name__)

Command = Callable[[int, int], Sequence[str]]
"""Returns a worker's command, from the descriptors of its socket and of its problem pipe."""


def report(health: Health) -> None:
    """Print a worker's health for its supervisor as one line, without waiting for a reader."""
    os.set_blocking(_OUTPUT, False)
    with suppress(BlockingIOError):  # a line that fits a pipe is written whole or not at all
        os.write(_OUTPUT, msgspec.json.encode(health) + b"\n")


def pause(failures: int) -> float:
    """Return the seconds until a restart, after `failures` workers in a row that never served."""
    return min(_FIRST_PAUSE * (1 << min(failures, 10)), _LONGEST_PAUSE)


def run(settings: Settings, count: int, command: Command) -> None:
    """Keep `count` workers running until SIGTERM or SIGINT; raises `Problem` if none can start."""
    refuse_exposure(settings)
    with (
        metrics.shared(),
        listen("ingest", settings.host, settings.port, "BLUETICK_PORT") as listener,
        metrics_server.listen(settings) as private,
    ):
        patience = settings.drain + _STOP_SECONDS
        supervisor = _Supervisor(
            count,
            partial(command, listener.fileno()),
            listener,
            patience,
            sources=settings.sources,
            log_format=log_lines.chosen(settings.log_format),
        )
        asyncio.run(_supervise(settings, supervisor, address_of(listener), private))


async def _supervise(
    settings: Settings, supervisor: "_Supervisor", webhooks: str, private: socket.socket
) -> None:
    async with exposed(private, supervisor.health, supervisor.started):
        with logged("ingest", settings, webhooks=webhooks, health=address_of(private)) as end:
            end.reason = await supervisor.run()


class _Supervisor:
    """The workers, each kept running by its own task."""

    def __init__(
        self,
        count: int,
        command: Callable[[int], Sequence[str]],
        listener: socket.socket,
        patience: float,
        *,
        sources: Path | None = None,
        log_format: log_lines.Form = "json",
    ) -> None:
        self._sources = sources
        self._log_format = log_format
        self._command = command
        self._listener = listener
        self._patience = patience
        self._untried = set(range(1, count + 1))
        self._first_problem = ""
        self._served = False
        self._shutting_down = False
        self._running: set[_Worker] = set()

    def health(self) -> Health:
        """Return the combined health of the workers that serve."""
        if self._shutting_down:
            return Health((SHUTTING_DOWN,))
        now = asyncio.get_running_loop().time()
        silent = [
            f"the worker with process id {one.pid} is stuck: no report for {SILENT_SECONDS:g} s"
            for one in self._running
            if one.health and now - one.reported_at > SILENT_SECONDS
        ]
        return together([one.health for one in self._running if one.health], silent)

    def started(self) -> bool:
        """Whether a worker serves, or has served."""
        return self._served or any(one.served for one in self._running)

    async def run(self) -> str:
        """Keep the workers running until a signal; returns the signal, or raises `Problem`."""
        stop = stop_on_signals()
        keeping = {
            asyncio.create_task(self._keep_worker(number)) for number in sorted(self._untried)
        }
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({stopping, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        self._shutting_down = True
        # The workers accept connections until they stop listening. Later connections must be
        # refused, not wait in the queue of a socket from which no process accepts.
        self._listener.close()
        for task in (stopping, *keeping):
            task.cancel()
        await asyncio.gather(stopping, *keeping, return_exceptions=True)
        for task in done - {stopping}:
            task.result()
        return stop.reason

    async def _keep_worker(self, number: int) -> None:
        """Run one worker after the other; cancelling this task ends the current one."""
        failures = 0
        while True:
            served, why = await self._run_worker()
            self._untried.discard(number)
            if not self._served and not self._untried:
                raise Problem("no_worker_started", why=self._first_problem)
            seconds = pause(failures)
            failures = 0 if served else failures + 1
            _log.error("worker_ended", worker=number, reason=why, seconds=seconds)
            await asyncio.sleep(seconds)

    async def _run_worker(self) -> tuple[bool, str]:
        """Run one worker to its end; returns whether it served, and why it ended."""
        try:
            problem = ProblemPipe()
            with problem.handed_over() as descriptor:
                process = await self._start(descriptor)
        except OSError as error:  # no memory, process or file left now: the others continue
            why = f"it cannot be started ({error})"
            self._first_problem = self._first_problem or f"a worker failed: {why}"
            return False, why
        worker = _Worker(process, problem)
        self._running.add(worker)
        try:
            await worker.wait()
        finally:
            await worker.end(self._patience)
            self._running.discard(worker)
            metrics.remove_worker(worker.pid)
            self._served = self._served or worker.served
        self._first_problem = self._first_problem or worker.problem_text
        return worker.served, worker.end_reason()

    def _required_variables(self) -> frozenset[str]:
        """Return the variables a worker needs besides the settings: for metrics and for secrets."""
        return secret_variables(self._sources) | {metrics.SHARED}

    async def _start(self, problem_to: int) -> Process:
        inherited = child_environment.service(os.environ, self._required_variables())
        return await child_processes.start(
            self._command(problem_to),
            # A worker logs on a pipe, so it cannot know whether a person reads its lines.
            {**inherited, "BLUETICK_LOG_FORMAT": self._log_format},
            keep=[self._listener.fileno(), problem_to],
        )


class _Worker(Child):
    """One process: the health it reports, and the problem it ends with. Its log is forwarded."""

    def __init__(self, process: Process, problem: ProblemPipe) -> None:
        super().__init__(process, self._read_output(process), self._read_log(process))
        self.health: Health | None = None  # until it serves
        self.reported_at = 0.0
        self._problem = problem

    @property
    def served(self) -> bool:
        return self.health is not None

    @property
    def problem_text(self) -> str:
        """The sentence of the problem it ended with."""
        return self._problem.words

    async def wait(self) -> None:
        """Wait until the process has ended, its output is read and its problem received."""
        await super().wait()
        self._problem.receive()

    def end_reason(self) -> str:
        return self.problem_text or f"process {self.pid}, code {self.exit_code}"

    async def _read_output(self, process: Process) -> None:
        async for line in lines(process.stdout):
            with suppress(msgspec.DecodeError):
                self.health = msgspec.json.decode(line, type=Health)
                self.reported_at = asyncio.get_running_loop().time()

    async def _read_log(self, process: Process) -> None:
        async for line in lines(process.stderr):
            with suppress(OSError):  # the log has no reader: the worker must not wait for one
                sys.stderr.write(line.decode(errors="replace"))
