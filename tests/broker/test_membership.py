"""The consumer group: restarts, few reassignments, leaving; repartitioned topics."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from cli.processes import Running, Service, running
from deploy.local_kafka.broker import free_port
from schemas.codec import encode
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, read
from tests.broker.running_ingest import until
from tests.unit.messages import seen

NOW = round(time.time() * 1000)
ASSIGNED = re.compile(r"assigned partitions (\[.*\])")


class Log:
    """The log lines of the services, by health port."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _: str, line: str) -> None:
        self.lines.append(line)

    @property
    def assignments(self) -> list[str]:
        return [found[1] for line in self.lines if (found := ASSIGNED.search(line))]


@asynccontextmanager
async def worker(
    settings: Settings, name: str, log: Log, *, named: bool = True
) -> AsyncIterator[Running]:
    """Run a tracker with its own data directory and, if `named`, a name."""
    port = free_port(0)
    given = settings.model_copy(
        update={
            "instance": name if named else None,
            "data": settings.data / name,
            "track_health_port": port,
        }
    )
    async with running(given, [Service("track", port)], log) as [one]:
        yield one


@pytest.mark.long
async def test_a_planned_restart_moves_no_partition(settings: Settings) -> None:
    """The other worker keeps its partitions, and the restarted one gets its own back."""
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


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings of a group with a session timeout longer than any test."""
    return settings.model_copy(update={"session_timeout": 900})


@pytest.mark.long
async def test_a_killed_tracker_gets_its_partitions_by_its_data_directory(
    patient: Settings,
) -> None:
    """It has no name in the settings; the other tracker keeps its partitions."""
    stays, first, again = Log(), Log(), Log()
    async with worker(patient, "a", stays, named=False):
        async with worker(patient, "b", first, named=False) as killed:
            before = first.assignments[-1:]
            moves = len(stays.assignments)
            killed.kill()
            await killed.wait()
        async with worker(patient, "b", again, named=False):
            observations = [Record(patient.topics.observations, p, *_fact(p)) for p in range(3)]
            await write(patient, observations)
            await caught_up(patient.kafka, patient.topics)
            assert again.assignments == before
            assert len(stays.assignments) == moves

    assert len(await read(patient.kafka, patient.topics.statuses)) == 3


async def test_a_killed_leader_gets_its_partitions_back(patient: Settings) -> None:
    """A member alone in its group is the leader."""
    for _ in range(2):
        log = Log()
        async with worker(patient, "a", log, named=False) as killed:
            assert log.assignments == ["[0, 1, 2]"]
            killed.kill()
            await killed.wait()


async def test_a_new_member_moves_only_the_partitions_it_gets(settings: Settings) -> None:
    """The names are ordered so that the range assignor would move another partition."""
    a, b, c = Log(), Log(), Log()
    async with worker(settings, "a", a), worker(settings, "b", b):
        before = _held(a), _held(b)
        async with worker(settings, "c", c):
            after = _held(a), _held(b), _held(c)
    assert [len(one) for one in after] == [1, 1, 1]
    assert after[0] <= before[0]
    assert after[1] <= before[1]


@pytest.mark.long
async def test_a_member_that_stops_hands_over_at_once(patient: Settings) -> None:
    """Without a name in the settings, Kafka does not wait for a timeout."""
    stays = Log()
    async with worker(patient, "a", stays, named=False):
        async with worker(patient, "b", Log(), named=False):
            assert len(_held(stays)) < 3

        async def has_all() -> bool:
            return _held(stays) == {0, 1, 2}

        await until(has_all)


async def test_two_on_one_data_directory_have_different_names(settings: Settings) -> None:
    first, second = Log(), Log()
    async with (
        worker(settings, "same", first, named=False),
        worker(settings, "same", second, named=False),
    ):
        assert _held(first) | _held(second) == {0, 1, 2}
        assert not _held(first) & _held(second)


def _held(log: Log) -> set[int]:
    return set(json.loads(log.assignments[-1]))


@pytest.mark.long
async def test_a_changed_number_of_partitions_stops_the_services(settings: Settings) -> None:
    """Keys would move away from their state: each worker ends and logs the reason."""
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
