"""`bluetick up`: all services on one machine, from Kafka to the tracker."""

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import get_args

import msgspec
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from cli.cancellation import run_until_stopped
from cli.output.json_escaping import as_text
from cli.processes import Running, Service, Show, running
from cli.simulator import http_client
from cli.up import examples
from cli.up.keep_running import keep_running
from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from deploy.local_kafka.jars import VERSION
from ingest.sources.loader import load
from schemas.processor_list import PROCESSORS
from service import private_files
from service.contradictions import Address, colliding_ports
from service.errors import Problem
from service.setting_names import variable
from service.settings import Settings

CONSOLE = "console"
# What it needs besides the other services: without these, everything else runs.
_CONSOLE_PACKAGES = ("authlib", "itsdangerous", "jinja2", "sqlalchemy", "sse_starlette")

_NO_CONSOLE = r"not installed: pip install 'bluetick\[console]'"

# The settings of the ports that follow ingest's own, with their services.
_FOLLOWING = {
    **{one.port_setting: one.name for one in PROCESSORS},
    "ingest_metrics_port": "ingest",
    "console_port": CONSOLE,
    "console_health_port": CONSOLE,
}
_SERVICES = ("ingest", *(one.name for one in PROCESSORS), CONSOLE)
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
    def console(self) -> str | None:
        """The URL of the console; None if its packages are not installed."""
        if all(one.service.name != CONSOLE for one in self.services):
            return None
        return http_client.url(self.settings.console_host, self.settings.console_port)

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
        self._shown = ""
        self._status.start()
        self.finished_steps = 0

    def __call__(self, step: str) -> None:
        """Show the current step."""
        if self._console.is_terminal:
            self._status.update(Text(step))
        elif step != self._shown:
            self._console.print(Text(f"  {step}"))
            self._shown = step

    def done(self, step: str) -> None:
        """Show a finished step, with the time since the start."""
        self.finished_steps += 1
        seconds = time.monotonic() - self._began
        self._console.print(
            Text.assemble(("✓ ", "green"), f"{step}  ", (f"{seconds:.1f} s", "dim"))
        )

    def stop(self) -> None:
        self._status.stop()


def up(settings: Settings, kafka_port: int | None) -> int:
    """Run until Ctrl-C or SIGTERM, and return 0; raises `Problem` if it cannot continue."""
    load(settings.sources)  # reports an error in the sources before anything is started
    return run_until_stopped(_up(settings, _KAFKA_PORT if kafka_port is None else kafka_port))


async def _up(settings: Settings, kafka_port: int) -> int:
    console = Console(highlight=False)
    progress, show = Progress(console), labelled(console)
    nothing_began = False
    try:
        async with line(settings, kafka_port, progress, show) as up_:
            progress.stop()
            _print_addresses(console, up_)
            say = partial(console.print, style="yellow", markup=False, soft_wrap=True)
            raise await _kept_running(up_, show, say)
    except Problem:
        nothing_began = not progress.finished_steps
        raise
    finally:
        progress.stop()
        if not nothing_began:
            console.print("stopped")


async def _kept_running(up_: Line, show: Show, say: Callable[[str], None]) -> Problem:
    """Keep the services running; returns why that is over, for Kafka if it was started here."""
    given_up = [
        keep_running(up_.settings, up_.services, place, show, say)
        for place in range(len(up_.services))
    ]
    kafka_died = [up_.kafka.died()] if up_.kafka else []
    waits = [asyncio.create_task(one) for one in (*given_up, *kafka_died)]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


@asynccontextmanager
async def line(
    settings: Settings, kafka_port: int, progress: Progress, show: Show
) -> AsyncIterator[Line]:
    """Start Kafka (unless the settings name one), topics and services; stop them in reverse."""
    settings = settings.model_copy(update=_ports(settings))
    _make_private(settings.stores.parent)
    async with AsyncExitStack() as stack:
        local = None
        if "kafka" not in settings.model_fields_set:
            local = LocalKafka(settings.data / "kafka", kafka_port, progress=progress)
            await stack.enter_async_context(local)
            settings = settings.model_copy(update={"kafka": local.bootstrap})
            progress.done(f"Kafka {VERSION} answers at {local.bootstrap}")
        progress("creating topics")
        created = await topics.apply(settings)
        progress.done(f"topics {settings.namespace}.*: {len(created)} changes")
        ports = _health_ports(settings)
        names = " and ".join([", ".join([*ports][:-1]), [*ports][-1]])
        progress(f"starting {names}")
        services = [Service(name, port, settings.health_host) for name, port in ports.items()]
        started = await stack.enter_async_context(running(settings, services, show, progress))
        progress.done(f"{names} are ready")
        yield Line(settings, started, local)


def _health_ports(settings: Settings) -> dict[str, int]:
    """Return the ports of health and metrics of the services to start, in their order."""
    processors = {one.name: settings.health_port(one.name) for one in PROCESSORS}
    console = {CONSOLE: settings.console_health_port} if has_console() else {}
    return {"ingest": settings.ingest_metrics_port, **processors, **console}


def has_console() -> bool:
    """Whether the packages of the console are installed."""
    return all(find_spec(name) is not None for name in _CONSOLE_PACKAGES)


def _make_private(state: Path) -> None:
    """Make the tracker's directory private; other programs may use the data directory above it."""
    try:
        private_files.directory(state)
    except OSError as error:
        raise Problem("data_not_writable", directory=str(state), why=error.strerror) from None


def labelled(console: Console) -> Show:
    """Return a function that shows a service's log line after its name, in its colour."""

    def show(name: str, text: str) -> None:
        line = Text.assemble((f"{name:>{_NAME_WIDTH}} ", _COLOURS.get(name, "")), text)
        console.print(line, soft_wrap=True)

    return show


def _print_addresses(console: Console, up_: Line) -> None:
    settings, ingest = up_.settings, up_.webhooks
    sources = "|".join(load(settings.sources).sources)
    console.print(
        f"\n[bold]Bluetick is up.[/bold]  Kafka {settings.kafka}, namespace {settings.namespace}\n"
        f"  webhooks   {ingest}/webhooks/<{sources}>\n"
        f"  console    {up_.console or _NO_CONSOLE}\n"
        f"  data       {settings.data}\n"
        f"  health     {_pages(up_, 'health/ready')}\n"
        f"  metrics    {_pages(up_, 'metrics')}\n\n"
        "Try it from another terminal:\n",
        soft_wrap=True,
    )
    console.print(
        Text(
            f"{_example(ingest)}"
            f"  {given_again(os.environ, settings.kafka)}./bluetick tail statuses --from-start\n"
        ),
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


def _pages(up_: Line, page: str) -> str:
    """Return the address of a page of each service, after its name, one a line."""
    names = (one.service.name for one in up_.services)
    return f"\n{'':13}".join(f"{name:{_NAME_WIDTH}}  {up_.url(name)}/{page}" for name in names)


def given_again(environment: Mapping[str, str], kafka: str) -> str:
    """Return the settings of this environment for a command in another terminal; "" for none.

    Secrets are shown as `…`; the address of Kafka is given unless it is the default.
    """
    settings = {name: value for name, value in environment.items() if name.startswith("BLUETICK_")}
    if kafka != Settings.model_fields["kafka"].default:
        settings["BLUETICK_KAFKA"] = kafka
    return "".join(
        f"{name}={'…' if _is_secret(name) else shlex.quote(value)} "
        for name, value in sorted(settings.items())
    )


def _is_secret(variable: str) -> bool:
    field = Settings.model_fields[variable.removeprefix("BLUETICK_").lower()]
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _ports(settings: Settings) -> dict[str, int]:
    """Return the ports of the services, each checked to be free; unset ones follow ingest's.

    The distances between the ports are those of the defaults.
    """
    wanted = {"port": settings.port}
    for name in _FOLLOWING:
        follows = name not in settings.model_fields_set
        port = settings.port + _default(name) - _default("port") if settings.port else 0
        wanted[name] = port if follows else getattr(settings, name)
    hosts = dict.fromkeys(_FOLLOWING, settings.health_host)
    hosts |= {"port": settings.host, "console_port": settings.console_host}
    addresses = {variable(name): Address(hosts[name], port) for name, port in wanted.items()}
    for problem in colliding_ports(addresses):
        raise problem
    return {name: _free(name, port) for name, port in wanted.items()}


def _free(setting: str, port: int) -> int:
    """Return the port if it is free, for 0 a free one; the `Problem` names the options for it."""
    options = f"--port ({variable(setting)})"
    if setting in _FOLLOWING:
        options = f"{variable(setting)}, or move all ports with --port"
    try:
        return free_port(port, _FOLLOWING.get(setting, "ingest"))
    except Problem as problem:
        raise Problem(problem.code, **problem.fields, options=options) from None


def _default(name: str) -> int:
    port: int = Settings.model_fields[name].default
    return port
