"""`bluetick up`: all services on one machine, from Kafka to the tracker."""

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from cli.cancellation import run_until_stopped
from cli.output.json_escaping import as_text
from cli.processes import Running, Service, Show, first_to_end, running
from cli.simulator import http_client
from cli.up import examples
from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from deploy.local_kafka.jars import VERSION
from ingest.sources.loader import load
from schemas.processors import PROCESSORS
from service import private_files
from service.contradictions import Address, colliding_ports
from service.errors import Problem
from service.settings import Settings, variable

# The settings of the ports that follow ingest's own, with their services.
_FOLLOWING = {
    **{one.port_setting: one.name for one in PROCESSORS},
    "ingest_metrics_port": "ingest",
}
_SERVICES = ("ingest", *(one.name for one in PROCESSORS))
_COLOURS = dict(zip(_SERVICES, cycle(("cyan", "magenta", "green", "yellow", "blue")), strict=False))
_NAME_WIDTH = max(map(len, _SERVICES))
# The port of Kafka in the default settings, so that `tail` finds it.
_KAFKA_PORT = 9092


@dataclass(frozen=True)
class Line:
    """All running services: their settings and processes."""

    settings: Settings
    services: list[Running]
    kafka: LocalKafka | None

    @property
    def webhooks(self) -> str:
        """The URL where ingest receives webhooks."""
        return http_client.url(self.settings.host, self.settings.port)

    def url(self, name: str) -> str:
        """Return the URL of a service's health and metrics."""
        return next(one.service.url for one in self.services if one.service.name == name)


class Progress:
    """Shows the current step: a spinner in a terminal, else line by line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting")
        self._began = time.monotonic()
        self._status.start()

    def __call__(self, step: str) -> None:
        """Show the current step."""
        if self._console.is_terminal:
            self._status.update(step)
        else:
            self._console.print(Text(f"  {step}"))

    def done(self, step: str) -> None:
        """Show a finished step, with the time since the start."""
        seconds = time.monotonic() - self._began
        self._console.print(
            Text.assemble(("✓ ", "green"), f"{step}  ", (f"{seconds:.1f} s", "dim"))
        )

    def stop(self) -> None:
        self._status.stop()


def up(settings: Settings, kafka_port: int | None, data: Path | None) -> int:
    """Run until Ctrl-C or SIGTERM, and return 0; raises `Problem` if a service ends by itself."""
    load(settings.sources)  # reports an error in the sources before anything is started
    port = _KAFKA_PORT if kafka_port is None else kafka_port
    named = settings.data if "data" in settings.model_fields_set else None
    return run_until_stopped(_up(settings, port, data or named or _home()))


async def _up(settings: Settings, kafka_port: int, data: Path) -> int:
    console = Console(highlight=False)
    progress = Progress(console)
    try:
        async with line(settings, kafka_port, data, progress, shown(console)) as up_:
            progress.stop()
            _print_addresses(console, up_)
            raise await _trouble(up_)
    finally:
        progress.stop()
        console.print("stopped")


async def _trouble(up_: Line) -> Problem:
    """Wait until a service, or Kafka if started here, ends; returns its problem."""
    waits: list[asyncio.Task[Running] | asyncio.Task[Problem]] = [
        asyncio.create_task(first_to_end(up_.services))
    ]
    if up_.kafka is not None:
        waits.append(asyncio.create_task(up_.kafka.died()))
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        ended = done.pop().result()
        return ended.why() if isinstance(ended, Running) else ended
    finally:
        for wait in waits:
            wait.cancel()


@asynccontextmanager
async def line(
    settings: Settings, kafka_port: int, data: Path, progress: Progress, show: Show
) -> AsyncIterator[Line]:
    """Start Kafka (unless the settings name one), topics and services; stop them in reverse."""
    settings = settings.model_copy(update=_ports(settings) | {"data": data / "state"})
    _make_private(settings.data)
    async with AsyncExitStack() as stack:
        local = None
        if "kafka" not in settings.model_fields_set:
            local = LocalKafka(data / "kafka", kafka_port, progress=progress)
            await stack.enter_async_context(local)
            settings = settings.model_copy(update={"kafka": local.bootstrap})
            progress.done(f"Kafka {VERSION} answers at {local.bootstrap}")
        progress("creating topics")
        created = await topics.apply(settings)
        progress.done(f"topics {settings.namespace}.*: {len(created)} changes")
        names = " and ".join([", ".join(_SERVICES[:-1]), _SERVICES[-1]])
        progress(f"starting {names}")
        ports = {one.name: settings.health_port(one.name) for one in PROCESSORS}
        ports = {"ingest": settings.ingest_metrics_port, **ports}
        services = [Service(name, port, settings.health_host) for name, port in ports.items()]
        started = await stack.enter_async_context(running(settings, services, show))
        progress.done(f"{names} are ready")
        yield Line(settings, started, local)


def _make_private(state: Path) -> None:
    """Make the tracker's directory private; other programs may use the data directory above it."""
    try:
        private_files.directory(state)
    except OSError as error:
        raise Problem("data_not_writable", directory=str(state), why=error.strerror) from None


def shown(console: Console) -> Show:
    """Return a function that shows a service's log line after its name, in its colour."""

    def show(name: str, text: str) -> None:
        line = Text.assemble((f"{name:>{_NAME_WIDTH}} ", _COLOURS.get(name, "")), text)
        console.print(line, soft_wrap=True)

    return show


def worries(console: Console) -> Show:
    """Return a function that shows only the errors and warnings of the services' logs."""
    show = shown(console)

    def worry(name: str, text: str) -> None:
        # aiokafka warns of errors that it waits out, such as a group's first use of a new cluster.
        if " ERROR " in text or (" WARNING " in text and " aiokafka." not in text):
            show(name, text)

    return worry


def _print_addresses(console: Console, up_: Line) -> None:
    settings, ingest = up_.settings, up_.webhooks
    addresses = [up_.url(one.service.name) for one in up_.services]
    sources = "|".join(load(settings.sources).sources)
    console.print(
        f"\n[bold]Bluetick is up.[/bold]  Kafka {settings.kafka}, namespace {settings.namespace}\n"
        f"  webhooks   {ingest}/webhooks/<{sources}>\n"
        f"  data       {settings.data.parent}\n"
        f"  health     {'  '.join(f'{one}/health/ready' for one in addresses)}\n"
        f"  metrics    {'  '.join(f'{one}/metrics' for one in addresses)}\n\n"
        "Try it from another terminal:\n",
        soft_wrap=True,
    )
    console.print(
        Text(f"{_example(ingest)}  {_named(settings)}./bluetick tail statuses --from-start\n"),
        soft_wrap=True,
    )
    console.print("Ctrl-C stops everything.\n")


def _example(ingest: str) -> str:
    """Return a curl command that posts a documented webhook; "" if no plain one exists."""
    example = examples.shortest()
    if example is None:
        return ""
    body = as_text(msgspec.json.decode(example.body))
    return f"  curl -i {ingest}/webhooks/{example.source} -d {shlex.quote(body)}\n"


def _named(settings: Settings) -> str:
    """Return the setting with which a command finds this Kafka; "" if it is the default."""
    usual = Settings.model_fields["kafka"].default
    return "" if settings.kafka == usual else f"BLUETICK_KAFKA={settings.kafka} "


def _ports(settings: Settings) -> dict[str, int]:
    """Return the ports of the services, each checked to be free; unset ones follow ingest's.

    The distances between the ports are those of the defaults.
    """
    wanted = {"port": settings.port}
    for name in _FOLLOWING:
        follows = name not in settings.model_fields_set
        port = settings.port + _default(name) - _default("port") if settings.port else 0
        wanted[name] = port if follows else getattr(settings, name)
    hosts = dict.fromkeys(_FOLLOWING, settings.health_host) | {"port": settings.host}
    addresses = {variable(name): Address(hosts[name], port) for name, port in wanted.items()}
    for problem in colliding_ports(addresses):
        raise problem
    return {name: free_port(port, _FOLLOWING.get(name, "ingest")) for name, port in wanted.items()}


def _default(name: str) -> int:
    port: int = Settings.model_fields[name].default
    return port


def _home() -> Path:
    """Return the directory for this user's data (XDG Base Directory)."""
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".local/share") / "bluetick"
