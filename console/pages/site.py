"""All pages of the console, as routes over one `Site`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

from console.access.audit import Audit
from console.actions.jobs import Jobs
from console.pages.live import Changes
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


class Store(Protocol):
    """The read model: runs a query on a connection, outside of the event loop."""

    async def ask(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


@dataclass
class Site:
    """What the pages work with."""

    settings: Settings
    store: Store
    audit: Audit
    changes: Changes
    jobs: Jobs = field(default_factory=Jobs)
