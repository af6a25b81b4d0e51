"""The read model beside real processors: it catches up, survives a kill, equals a rebuild."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError

from cli.processes import Running, Service, running, start
from cli.simulator.simulate import simulate
from console.read_model.database import Database
from console.read_model.loading.loader import Loader
from console.read_model.queries import overview, timeline
from console.read_model.tables import ABOUT, METADATA, POSITIONS
from console.serving import database_of
from deploy.local_kafka.broker import free_port
from schemas.processor_list import PROCESSORS
from schemas.webhook import to_headers
from service.settings import Settings
from service.wall_clock import now_ms
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, read

_SECONDS = 60
_MESSAGES = 300


def silent(_: str, __: str) -> None:
    pass


async def test_a_killed_console_goes_on_and_equals_a_rebuild(settings: Settings) -> None:
    """Killed while it loads, it neither loses nor doubles anything; a rebuild is the same."""
    settings = settings.model_copy(
        update={"console_port": free_port(0), "console_health_port": free_port(0)}
    )
    records = webhooks(settings)
    services = [Service(one.name, settings.health_port(one.name)) for one in PROCESSORS]
    async with running(settings, services, silent):
        console = await started(settings)
        await write(settings, records[: len(records) // 2])
        await until(settings, lambda connection: overview.progress(connection).looked_at)
        console.kill()
        await console.wait()
        await write(settings, records[len(records) // 2 :])
        await caught_up(settings.kafka, settings.topics)
        console = await started(settings)
        try:
            await until(settings, is_present)
            await same_by_api(settings)
        finally:
            await console.stop()
    kept = await asyncio.to_thread(contents, database_of(settings))
    again = settings.model_copy(update={"data": settings.data / "again"})
    await Loader(again, database_of(again)).rebuild(asyncio.Event())
    assert await asyncio.to_thread(contents, database_of(again)) == kept
    assert len(kept["messages"]) > _MESSAGES / 2
    statuses = await read(settings.kafka, settings.topics.statuses)
    assert len(kept["verdicts"]) == len(statuses)
    assert sum(row[-1] for row in kept["fact_counts"]) == len(statuses)


def webhooks(settings: Settings) -> list[Record]:
    """Simulated webhooks on the raw topics."""
    posts = simulate(messages=_MESSAGES, base_time_ms=now_ms() - 3_600_000, seed=3).posts
    return [
        Record(
            settings.topics.raw(post.source),
            number % settings.partitions,
            None,
            post.body,
            to_headers(post.received(now_ms(), f"{number}")),
        )
        for number, post in enumerate(posts)
    ]


async def started(settings: Settings) -> Running:
    return await start(settings, Service("console", settings.console_health_port), silent)


def is_present(connection: Connection) -> bool:
    progress = overview.progress(connection)
    return not progress.loading and progress.behind == 0


async def until(settings: Settings, holds: Any) -> None:
    """Wait until a query of the read model holds; until it is made, it does not."""
    database = database_of(settings)
    async with asyncio.timeout(_SECONDS):
        while True:
            with suppress(OperationalError), database.reading() as connection:
                if holds(connection):
                    return
            await asyncio.sleep(0.05)


async def same_by_api(settings: Settings) -> None:
    """The API answers with the read model's message."""
    url = f"http://127.0.0.1:{settings.console_port}/api/v1"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        [line, *_] = (await client.get("/messages?limit=1")).json()["items"]
        message = (await client.get("/message", params={"key": line["key"]})).json()
    with database_of(settings).reading() as connection:
        found = timeline.find(connection, line["key"])
    assert found
    assert len(message["facts"]) == len(found.facts)


def contents(database: Database) -> dict[str, list[Any]]:
    """Return all rows of all tables but what depends on the time of loading."""
    with database.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))))
            for table in METADATA.sorted_tables
            if table not in (ABOUT, POSITIONS)
        }
