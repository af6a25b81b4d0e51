"""The services as child processes: start, wait until ready, stop in reverse order."""

import asyncio
import json
import os
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from cli.own_command import another
from cli.problem_sentences import CommandProblem
from cli.simulator import http_client
from ingest.sources.loader import secret_variables
from service import child_environment, child_processes
from service.child_processes import Child, lines
from service.errors import Problem
from service.problem_pipe import ProblemPipe
from service.setting_names import variable
from service.settings import SECRETS, Settings

Show = Callable[[str, str], None]
"""Receives a service's name and one line of its log."""

Waiting = Callable[[str], None]
"""Receives why services are not ready yet, once the reasons have stayed for some seconds."""

_STARTING = "it does not answer yet"
_OK = 200
_READY_SECONDS = 60
_SILENT_SECONDS = 3
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 15


class _Health(msgspec.Struct):
    """What a service's page `/health/ready` says."""

    problems: tuple[str, ...] = ()


def _unsaid(_: str) -> None:
    pass


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

    @property
    def reason(self) -> str:
        """Why the service ended: its own problem if it sent one, else the exit code."""
        return self._problem.words or f"exit code {self.exit_code}, see its log above"

    def why(self) -> Problem:
        """Return the problem that the service ended."""
        return CommandProblem(
            "service_ended", "{service} ended: {why}", service=self.service.name, why=self.reason
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


def quiet(settings: Settings) -> Settings:
    """Return settings with which services log only warnings and errors; a given level stays."""
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


@asynccontextmanager
async def running(
    settings: Settings, services: Iterable[Service], show: Show, waiting: Waiting = _unsaid
) -> AsyncIterator[list[Running]]:
    """Start the services in order and wait until all are ready; stop them in reverse order.

    The caller may replace a service of the list by another process of it, which is then stopped.
    """
    started: list[Running] = []

    async def stop(place: int) -> None:
        await started[place].stop()

    async with AsyncExitStack() as stack:
        for place, service in enumerate(services):
            started.append(await start(settings, service, show))
            stack.push_async_callback(stop, place)
        await until_ready(settings, started, waiting)
        yield started


async def start(settings: Settings, service: Service, show: Show) -> Running:
    """Start a service, without waiting until it is ready."""
    problem = ProblemPipe()
    with problem.handed_over() as descriptor:
        process = await _start(settings, service, descriptor)
    return Running(service, process, problem, show)


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
    """Return the environment of a service: allowed variables, and every setting that is set."""
    secrets = secret_variables(settings.sources) if service.name == "ingest" else ()
    values = settings.model_dump(
        mode="json", exclude_unset=True, exclude_none=True, exclude={*SECRETS}
    )
    values["log_format"] = "console"  # a person reads the lines, through a pipe
    variables = {
        variable(name): json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in values.items()
    }
    inherited = child_environment.service(os.environ, secrets)
    return {**inherited, **variables, "PYTHONUNBUFFERED": "1"}


async def until_ready(
    settings: Settings, services: Sequence[Running], waiting: Waiting = _unsaid
) -> None:
    """Wait until all services are ready; raises `Problem` if one ends, or takes too long.

    It may take as long as Kafka waits for a worker that was killed.
    """
    seconds = max(_READY_SECONDS, 2 * settings.session_timeout)
    obstacles = {one.service.name: _STARTING for one in services}
    said = reasons = ""
    since = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            while obstacles := await _obstacles(services, obstacles):
                known = {name: why for name, why in obstacles.items() if why != _STARTING}
                if (latest := _waits(known)) != reasons:
                    reasons, since = latest, time.monotonic()
                if reasons != said and time.monotonic() - since >= _SILENT_SECONDS:
                    said = reasons
                    waiting(said)
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise CommandProblem(
            "services_not_ready",
            "not ready after {seconds:g} s: {obstacles}; see the log above",
            obstacles=_waits(obstacles),
            seconds=seconds,
        ) from None


def _waits(obstacles: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in obstacles.items())


async def _obstacles(services: Iterable[Running], among: Collection[str]) -> dict[str, str]:
    """Return why services are not ready, by name, of those among which some were not before."""
    found = {
        one.service.name: await _obstacle(one) for one in services if one.service.name in among
    }
    return {name: why for name, why in found.items() if why}


async def _obstacle(one: Running) -> str:
    """Return why a service is not ready; "" if it is. Raises its `Problem` if it has ended."""
    if one.ended:
        await one.wait()
        raise one.why()
    with suppress(msgspec.DecodeError, *http_client.Broken):
        answer = await http_client.get(one.service.url, "/health/ready")
        return "" if answer.status == _OK else _reasons(answer.body)
    return _STARTING


def _reasons(page: bytes) -> str:
    return "; ".join(msgspec.json.decode(page, type=_Health).problems) or _STARTING
