"""Three Kafka brokers, each also a controller, and faults of brokers."""

import asyncio
import shutil
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path

from deploy.local_kafka.broker import HOST, LocalKafka, free_port
from tests.faults.active_controller import active_controller
from tests.faults.admin import Admin
from tests.faults.cluster_network import NUMBERS, ClusterNetwork, cluster_network

_PARTITIONS = "6"  # of Kafka's own topics
_SETTINGS = {
    "auto.create.topics.enable": "false",
    "default.replication.factor": "3",
    "group.initial.rebalance.delay.ms": "100",
    "log.cleaner.dedupe.buffer.size": "33554432",  # the default is a quarter of the heap
    "min.insync.replicas": "2",
    "offsets.topic.num.partitions": _PARTITIONS,
    "offsets.topic.replication.factor": "3",
    # How long a coordinator waits for an unreachable broker when it sends transaction markers.
    "request.timeout.ms": "5000",
    "socket.connection.setup.timeout.max.ms": "4000",
    "socket.connection.setup.timeout.ms": "2000",
    "transaction.state.log.min.isr": "2",
    "transaction.state.log.num.partitions": _PARTITIONS,
    "transaction.state.log.replication.factor": "3",
}
_SYNC_SECONDS = 120
_LOOK_SECONDS = 0.2


class Broker(LocalKafka):
    """One broker of three; its name, ports and data stay the same after a restart."""

    def __init__(self, data: Path, number: int, network: ClusterNetwork, cluster: str) -> None:
        super().__init__(data, free_port(0), proxied=network.proxied(number))
        self.number = number
        self.voters = ""
        self.controller = f"{network.host(number)}:{free_port(0)}"
        self._network = network
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        """The address for the other brokers, and for clients unless there is a proxy."""
        return f"{self._network.host(self.number)}:{self.port}"

    @property
    def reached(self) -> str:
        """The address for clients."""
        return f"{HOST}:{self.proxied}" if self.proxied else self.bootstrap

    @property
    def running(self) -> bool:
        return self._process is not None

    async def start(self) -> None:
        await super().start()
        await self._network.connect(self, self.number)

    def lose_disk(self) -> None:
        """Remove all its data; it must be down."""
        shutil.rmtree(self._logs)

    def unplug(self) -> None:
        """Unplug its cable."""
        self._network.unplug(self, self.number)

    def plug(self) -> None:
        self._network.plug(self, self.number)

    async def _java(self) -> list[str]:
        return [*self._network.command(self.number), *await super()._java()]

    def _cluster_id(self) -> str:
        return self._cluster

    def _settings(self) -> dict[str, str]:
        return {
            **_SETTINGS,
            "process.roles": "broker,controller",
            "node.id": f"{self.number}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": self.voters,
        }


class Cluster:
    """All three brokers; one environment of trials."""

    def __init__(self, brokers: Iterable[Broker], home: Path) -> None:
        self.brokers = {broker.number: broker for broker in brokers}
        voters = ",".join(f"{one.number}@{one.controller}" for one in self.brokers.values())
        for broker in self.brokers.values():
            broker.voters = voters
        self.home = home
        self._numbers: Iterator[int] = count(1)
        self._unplugged: set[int] = set()

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.reached for broker in self.brokers.values())

    @property
    def admin(self) -> Admin:
        return self._admin

    def number(self) -> int:
        """Return a number that no other trial of this run has."""
        return next(self._numbers)

    async def start(self) -> None:
        await asyncio.gather(*(broker.start() for broker in self.brokers.values()))
        self._admin = Admin(self.bootstrap)

    async def restart(self, *numbers: int) -> None:
        """Start brokers that are down, all at once: a single one has no quorum."""
        await asyncio.gather(*(self.brokers[number].start() for number in numbers))

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            self.brokers[number].kill()

    @contextmanager
    def frozen(self, *numbers: int) -> Iterator[None]:
        """SIGSTOP these brokers within the context."""
        for number in numbers:
            self.brokers[number].pause()
        try:
            yield
        finally:
            for number in numbers:
                self.brokers[number].resume()

    @contextmanager
    def unplugged(self, number: int) -> Iterator[None]:
        """Unplug a broker's cable within the context."""
        self.brokers[number].unplug()
        try:
            yield
        finally:
            self.brokers[number].plug()

    async def repair(self) -> None:
        """Start the brokers that are down."""
        await self.restart(*(n for n, one in self.brokers.items() if not one.running))

    def end_faults(self) -> None:
        """Do nothing: each fault of this environment ends with its context."""

    async def leader(self, topic: str, partition: int) -> int:
        return await asyncio.to_thread(self.admin.leader, topic, partition)

    async def controller(self) -> int:
        """Return the number of the active controller."""
        for broker in self.brokers.values():
            with suppress(OSError):
                host, _, port = broker.bootstrap.rpartition(":")
                return await asyncio.to_thread(active_controller, host, int(port))
        raise OSError("no broker names the active controller")

    async def in_sync(self) -> None:
        """Wait until every partition has all its replicas in sync."""
        async with asyncio.timeout(_SYNC_SECONDS):
            while not await asyncio.to_thread(self.admin.in_sync):  # noqa: ASYNC110 - Kafka has no event for it
                await asyncio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def cluster(home: Path, *, namespaces: bool) -> AsyncIterator[Cluster]:
    """Start the network and the brokers; the context ends them."""
    identity = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    async with cluster_network(namespaces=namespaces) as network, AsyncExitStack() as stack:
        brokers = [Broker(home / f"kafka-{n}", n, network, identity) for n in NUMBERS]
        one = Cluster(brokers, home)
        for broker in brokers:
            stack.callback(broker.kill)
        await one.start()
        yield one
