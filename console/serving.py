"""The console as a process: pages and API, the loader, health and metrics, an orderly end."""

import asyncio
from functools import partial
from pathlib import Path

from sqlalchemy.exc import ArgumentError
from starlette.responses import Response

from console.app import App, create_app
from console.read_model.database import Database, sqlite_url
from console.read_model.loading.loader import Loader, OnProgress
from service.errors import Problem, system_reason
from service.garbage_collection import collect_rarely
from service.http.connection_limits import Connections
from service.http.open_files import raise_limit, shares
from service.http.server import (
    HealthServer,
    Server,
    address_of,
    listen,
    listen_for_health,
    logged,
    readiness,
)
from service.kafka.clock import clock, comparing
from service.kafka.failures import reporter
from service.metrics.of_every_service import clock_offset, count_kafka_failure, note_build, ready
from service.metrics.registry import exposed
from service.settings import Settings
from service.signals import Stop, stop_on_signals

NAME = "console"

_GRACE_SECONDS = 3

# A viewer has a few: browsers open up to 6 at a time. `console.pages.live` bounds those that stay.
_MOST_CONNECTIONS = 1000
_HEAD_SECONDS = 10.0


def database_of(settings: Settings) -> Database:
    """Return the database that the settings name; raises `Problem` if it cannot be opened."""
    if settings.console_db is not None:
        return _named(settings.console_db.get_secret_value())
    directory = Path(settings.data) / NAME
    try:
        return Database(sqlite_url(directory, settings.namespace))
    except OSError as error:
        raise Problem(
            "data_not_writable", directory=str(directory), why=system_reason(error)
        ) from None


def _named(url: str) -> Database:
    try:
        return Database(url)
    except ImportError:
        raise Problem("console_postgres_missing") from None
    except ArgumentError:
        raise Problem("console_db_invalid") from None


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises `Problem` if it cannot continue."""
    database = database_of(settings)
    loader = Loader(settings, database)
    app = create_app(settings, database, lambda: loader.problem)
    asyncio.run(_serve(settings, loader, app))


def rebuild(settings: Settings, progress: OnProgress) -> bool:
    """Drop the read model and make it again from the topics; whether it was finished.

    Raises `Problem` if another process is loading it.
    """
    return asyncio.run(_rebuild(settings, progress))


async def _rebuild(settings: Settings, progress: OnProgress) -> bool:
    loader = Loader(settings, database_of(settings), progress)
    collecting = collect_rarely()
    await loader.rebuild(stop_on_signals())
    collecting.cancel()
    return loader.loaded


def server_of(app: App, most: int = _MOST_CONNECTIONS, seconds: float = _HEAD_SECONDS) -> Server:
    """Return the server of the pages: at most so many connections, and seconds for a head."""
    connections = Connections(seconds, shares(raise_limit(), most).senders)
    return Server(app.asgi, connections, grace=_GRACE_SECONDS)


async def _serve(settings: Settings, loader: Loader, app: App) -> None:
    note_build(NAME)
    collecting = collect_rarely()
    ready.set_function(lambda: float(not _problems(loader)))
    health_port = settings.console_health_port
    host, port = settings.console_host, settings.console_port
    with (
        listen(NAME, host, port, "BLUETICK_CONSOLE_PORT", "BLUETICK_CONSOLE_HOST") as public,
        listen_for_health(
            NAME, settings.health_host, health_port, "BLUETICK_CONSOLE_HEALTH_PORT"
        ) as private,
    ):
        health = HealthServer(
            partial(_readiness, loader),
            lambda: loader.opened,
            exposed(NAME),
            grace=_GRACE_SECONDS,
        )
        server = server_of(app)
        stop = stop_on_signals()
        addresses = {"console": address_of(public), "health": address_of(private)}
        with logged(NAME, settings, **addresses) as end:
            serving = [
                asyncio.create_task(server.serve([public])),
                asyncio.create_task(health.serve([private])),
            ]
            try:
                async with (
                    reporter.reporting(settings, count_kafka_failure),
                    comparing(settings, clock_offset.set),
                ):
                    await loader.run(stop)
                end.reason = stop.reason
            finally:
                await _stop(stop, app, server, health)
                collecting.cancel()
                await asyncio.wait([*serving, collecting])


async def _stop(stop: Stop, app: App, server: Server, health: HealthServer) -> None:
    stop.set()
    server.should_exit = health.should_exit = True
    await app.site.close()


def _problems(loader: Loader) -> list[str]:
    clocks = [clock.problem] if clock.problem else []
    return [*clocks, *([loader.problem] if loader.problem else [])]


def _readiness(loader: Loader) -> Response:
    """Answer whether the pages show the present; a first load makes them incomplete, not down."""
    return readiness(_problems(loader), loading=not loader.loaded)
