"""What all trials of one run share: a real Kafka, a proxy in front of it, a directory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from deploy.local_kafka.broker import HOST, LocalKafka, free_port
from tests.faults.admin import Admin
from tests.faults.proxy import Proxy


class Environment(Protocol):
    """What a trial needs of the brokers it runs on, be it one or three."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def admin(self) -> Admin: ...
    @property
    def home(self) -> Path: ...
    def number(self) -> int: ...
    def heal(self) -> None: ...
    async def mend(self) -> None: ...


@dataclass(frozen=True)
class World:
    """The broker, reached directly or through the proxy."""

    kafka: LocalKafka
    proxy: Proxy
    admin: Admin
    home: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap

    def number(self) -> int:
        """A number no other trial of this run has."""
        return next(self._numbers)

    async def mend(self) -> None:
        """Make the network whole, and let the broker run."""
        self.heal()
        try:
            self.kafka.resume()
        except RuntimeError:  # it is down
            await self.kafka.start()

    async def crash(self, *, down: float = 0) -> None:
        """SIGKILL the broker, and start it again after so many seconds."""
        self.kafka.kill()
        await asyncio.sleep(down)
        await self.kafka.start()

    async def bounce(self, *, down: float = 0) -> None:
        """End the broker in good order, and start it again after so many seconds."""
        await self.kafka.stop()
        await asyncio.sleep(down)
        await self.kafka.start()

    def heal(self) -> None:
        """Make the network whole."""
        self.proxy.delay(0)
        self.proxy.throttle(None)
        self.proxy.thaw()
        self.proxy.accept()


@asynccontextmanager
async def world(home: Path) -> AsyncIterator[World]:
    """Start all of it; whatever happens, nothing of it is left running."""
    kafka = LocalKafka(home / "kafka", proxied=free_port(0))
    async with kafka, Proxy(HOST, kafka.proxied_port, kafka.proxied or 0) as proxy:
        yield World(kafka, proxy, Admin(kafka.bootstrap), home)
