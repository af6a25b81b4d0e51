"""The services as child processes: start, wait until ready, stop in reverse order."""

import asyncio
import json
import os
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from cli.messages import CommandProblem
from cli.program import another
from cli.simulator import http_client
from ingest.sources.loader import secret_variables
from service import child_environment, child_processes
from service.child_processes import Child, lines
from service.errors import Problem
from service.problem_pipe import ProblemPipe
from service.settings import SECRETS, Settings

Show = Callable[[str, str], None]
"""Receives a service's name and one line of its log."""

_OK = 200
_READY_SECONDS = 60
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 15


@dataclass(frozen=True)
class Service:
    """A service to start: its command's name and its health address."""

    name: str
    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return http_client.url(self.host, self.port)


class Running(Child):
    """One service's process, its log shown line by line."""

    def __init__(
        self, service: Service, process: Process, problem: ProblemPipe, show: Show
    ) -> None:
        super().__init__(process, self._read(process, show))
        self.service = service
        self._problem = problem

    @property
    def ended(self) -> bool:
        return self.exit_code is not None

    def why(self) -> Problem:
        """Return the problem that the service ended, with its own problem if it sent one."""
        why = self._problem.words or f"exit code {self.exit_code}, see its log above"
        return CommandProblem(
            "service_ended", "{service} ended: {why}", service=self.service.name, why=why
        )

    async def wait(self) -> None:
        """Wait until the process has ended, its log is read and its problem received."""
        await super().wait()
        self._problem.receive()

    async def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Send SIGTERM, wait, then send SIGKILL."""
        await self.end(seconds)

    async def _read(self, process: Process, show: Show) -> None:
        async for line in lines(process.stdout, b"(a line too long to show)"):
            text = line.decode(errors="replace").rstrip()
            if text:
                show(self.service.name, text)


@asynccontextmanager
async def running(
    settings: Settings, services: Iterable[Service], show: Show
) -> AsyncIterator[list[Running]]:
    """Start the services in order and wait until all are ready; stop them in reverse order."""
    async with AsyncExitStack() as stack:
        started = []
        for service in services:
            problem = ProblemPipe()
            with problem.handed_over() as descriptor:
                process = await _start(settings, service, descriptor)
            one = Running(service, process, problem, show)
            stack.push_async_callback(one.stop)
            started.append(one)
        await _until_ready(started)
        yield started


async def first_to_end(services: Iterable[Running]) -> Running:
    """Wait until one of the services ends by itself."""
    waits = {asyncio.create_task(one.wait()): one for one in services}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return waits[done.pop()]
    finally:
        for task in waits:
            task.cancel()


async def _start(settings: Settings, service: Service, problem_to: int) -> Process:
    return await child_processes.start(
        another(service.name, problem_to=problem_to),
        _environment(settings, service),
        stderr=STDOUT,
        keep=[problem_to],
    )


def _environment(settings: Settings, service: Service) -> dict[str, str]:
    """Return the environment of a service: allowed variables, and every setting."""
    secrets = secret_variables(settings.sources) if service.name == "ingest" else ()
    values = settings.model_dump(mode="json", exclude_none=True, exclude={*SECRETS})
    variables = {
        f"BLUETICK_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in values.items()
    }
    inherited = child_environment.service(os.environ, secrets)
    return {**inherited, **variables, "PYTHONUNBUFFERED": "1"}


async def _until_ready(services: list[Running]) -> None:
    waiting = list(services)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while waiting:
                waiting = [one for one in waiting if not await _ready(one)]
                await asyncio.sleep(_LOOK_SECONDS if waiting else 0)
    except TimeoutError:
        names = ", ".join(one.service.name for one in waiting)
        raise CommandProblem(
            "services_not_ready",
            "{names} not ready after {seconds} s; see the log above",
            names=names,
            seconds=_READY_SECONDS,
        ) from None


async def _ready(one: Running) -> bool:
    if one.ended:
        await one.wait()
        raise one.why()
    with suppress(*http_client.Broken):
        return (await http_client.get(one.service.url, "/health/ready")).status == _OK
    return False
