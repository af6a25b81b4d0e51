"""What the pages and the API need to answer a request."""

from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from console.read_model.database import Database
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The settings, and the read model."""

    settings: Settings
    database: Database

    async def run(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **named: P.kwargs
    ) -> T:
        """Run a query in a thread, with a connection of its own."""

        def queried() -> T:
            with self.database.reading() as connection:
                return query(connection, *args, **named)

        return await to_thread(queried)
