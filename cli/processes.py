"""The services as processes of their own: started, watched until ready, stopped in reverse."""

import asyncio
import json
import os
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from cli.program import another
from cli.simulator import http_client
from ingest.sources.loader import secret_variables
from service import child_environment, child_processes
from service.child_processes import Child, lines
from service.errors import Problem
from service.settings import Settings

Show = Callable[[str, str], None]
"""Takes a service's name and one line of its log."""

_OK = 200
_READY_SECONDS = 60
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 15
_COMPLAINT = "bluetick: "


@dataclass(frozen=True)
class Service:
    """What is started: its command's name and where its health answers."""

    name: str
    port: int
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return http_client.url(self.host, self.port)


class Running(Child):
    """One service's process, its log shown line by line."""

    def __init__(self, service: Service, process: Process, show: Show) -> None:
        super().__init__(process, self._read(process, show))
        self.service = service
        self._complaint = ""

    @property
    def ended(self) -> bool:
        return self.exit_code is not None

    def why(self) -> Problem:
        """Say that it ended and, if it said so, why."""
        reason = self._complaint or f"exit code {self.exit_code}, see its log above"
        return Problem(f"{self.service.name} ended: {reason}")

    async def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """SIGTERM, patience, SIGKILL."""
        await self.end(seconds)

    async def _read(self, process: Process, show: Show) -> None:
        async for line in lines(process.stdout, b"(a line too long to show)"):
            text = line.decode(errors="replace").rstrip()
            if text.startswith(_COMPLAINT):
                self._complaint = text.removeprefix(_COMPLAINT)
            elif text:
                show(self.service.name, text)


@asynccontextmanager
async def running(
    settings: Settings, services: Iterable[Service], show: Show
) -> AsyncIterator[list[Running]]:
    """Start the services in order and wait until all are ready; stop them in reverse order."""
    async with AsyncExitStack() as stack:
        started = []
        for service in services:
            process = await _start(settings, service)
            one = Running(service, process, show)
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


async def _start(settings: Settings, service: Service) -> Process:
    return await child_processes.start(
        another(service.name), _environment(settings, service), stderr=STDOUT
    )


def _environment(settings: Settings, service: Service) -> dict[str, str]:
    """The environment of a service: what it needs of ours, with every setting spelled out."""
    secrets = secret_variables(settings.sources) if service.name == "ingest" else ()
    values = settings.model_dump(mode="json", exclude_none=True, exclude={"password"})
    ours = {
        f"BLUETICK_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in values.items()
    }
    return {**child_environment.service(os.environ, secrets), **ours, "PYTHONUNBUFFERED": "1"}


async def _until_ready(services: list[Running]) -> None:
    waiting = list(services)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while waiting:
                waiting = [one for one in waiting if not await _ready(one)]
                await asyncio.sleep(_LOOK_SECONDS if waiting else 0)
    except TimeoutError:
        names = ", ".join(one.service.name for one in waiting)
        raise Problem(f"{names} not ready after {_READY_SECONDS} s; see the log") from None


async def _ready(one: Running) -> bool:
    if one.ended:
        await one.wait()
        raise one.why()
    with suppress(*http_client.Broken):
        return (await http_client.get(one.service.url, "/health/ready")).status == _OK
    return False
