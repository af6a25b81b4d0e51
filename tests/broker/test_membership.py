"""The group: a worker with a lasting name restarts in place; a topic cut anew stops the workers."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from console.services import Running, Service, running
from deploy.kafka import free_port
from schemas.codec import encode
from schemas.settings import Settings
from tests.broker.reading import caught_up, read
from tests.broker.writing import Record, write
from tests.unit.messages import seen

NOW = round(time.time() * 1000)
ASSIGNED = re.compile(r"assigned partitions (\[.*\])")


class Log:
    """What the services said, by the health port of each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _: str, line: str) -> None:
        self.lines.append(line)

    @property
    def assignments(self) -> list[str]:
        return [found[1] for line in self.lines if (found := ASSIGNED.search(line))]


@asynccontextmanager
async def worker(settings: Settings, name: str, log: Log) -> AsyncIterator[Running]:
    port = free_port(0)
    given = settings.model_copy(
        update={"instance": name, "data": settings.data / name, "track_health_port": port}
    )
    async with running(given, [Service("track", port)], log) as [one]:
        yield one


async def test_a_planned_restart_moves_no_partition(settings: Settings) -> None:
    """The worker that stays is never asked to let go, and the other finds what it had."""
    stays, first, again = Log(), Log(), Log()
    async with worker(settings, "a", stays):
        async with worker(settings, "b", first):
            before = stays.assignments[-1:], first.assignments[-1:]
            moves = len(stays.assignments)
        async with worker(settings, "b", again):
            observations = [Record(settings.topics.observations, p, *_fact(p)) for p in range(3)]
            await write(settings, observations)
            await caught_up(settings.kafka, settings.topics)
            after = stays.assignments[-1:], again.assignments[-1:]

    assert before == after
    assert len(stays.assignments) == moves
    assert len(await read(settings.kafka, settings.topics.statuses)) == 3


async def test_topics_cut_anew_under_way_stop_the_services(settings: Settings) -> None:
    """Keys would move away from their state: each worker ends and says so."""
    inputs = {"track": settings.topics.observations, "normalise": settings.topics.raw("whapi")}
    services = [Service(name, getattr(settings, f"{name}_health_port")) for name in inputs]
    async with running(settings, services, Log()) as started:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
        await admin.start()
        more = {topic: NewPartitions(total_count=5) for topic in inputs.values()}
        await admin.create_partitions(more)
        await admin.close()
        await asyncio.gather(*(one.wait() for one in started))

    for one in started:
        assert one.exit_code == 1
        topic = inputs[one.service.name]
        assert f"the topic {topic} has 5 partitions, not the 3" in str(one.why())


def _fact(partition: int) -> tuple[bytes, bytes]:
    key = f"smsmanager/-/restart-{partition}"
    return key.encode(), encode(seen("sent", NOW, message_key=key))
