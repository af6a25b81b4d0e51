"""The environment of trials with one broker: a real Kafka, a proxy in front of it, a directory."""

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
    """What a trial needs of its brokers, one or three."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def admin(self) -> Admin: ...
    @property
    def home(self) -> Path: ...
    def number(self) -> int: ...
    def end_faults(self) -> None: ...
    async def repair(self) -> None: ...


@dataclass(frozen=True)
class SingleBroker:
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
        """Return a number that no other trial of this run has."""
        return next(self._numbers)

    async def repair(self) -> None:
        """End all faults of the network, and let the broker run."""
        self.end_faults()
        try:
            self.kafka.resume()
        except RuntimeError:  # it is down
            await self.kafka.start()

    async def crash(self, *, down: float = 0) -> None:
        """SIGKILL the broker, and start it again after `down` seconds."""
        self.kafka.kill()
        await asyncio.sleep(down)
        await self.kafka.start()

    async def bounce(self, *, down: float = 0) -> None:
        """Stop the broker cleanly, and start it again after `down` seconds."""
        await self.kafka.stop()
        await asyncio.sleep(down)
        await self.kafka.start()

    def end_faults(self) -> None:
        """End all faults of the network."""
        self.proxy.delay(0)
        self.proxy.throttle(None)
        self.proxy.thaw()
        self.proxy.accept()


@asynccontextmanager
async def single_broker(home: Path) -> AsyncIterator[SingleBroker]:
    """Start the broker and its proxy; the context ends both."""
    kafka = LocalKafka(home / "kafka", proxied=free_port(0))
    async with kafka, Proxy(HOST, kafka.proxied_port, kafka.proxied or 0) as proxy:
        yield SingleBroker(kafka, proxy, Admin(kafka.bootstrap), home)
