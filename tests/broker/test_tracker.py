"""The tracker beside the usual way: records nobody can read, a log that was cut, a spoilt store."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from console.services import Service, running
from deploy import topics
from deploy.kafka import LocalKafka, free_port
from schemas.codec import encode
from schemas.records import MessageState
from schemas.settings import Settings
from schemas.topics import partition_of
from tests.broker.reading import caught_up, committed, read
from tests.broker.writing import Record, write
from tests.e2e.commands import run
from tests.unit.messages import KEY, seen

PARTITION = partition_of(KEY, 3)
NOW = round(time.time() * 1000)  # what is older than its time to live would be forgotten at once


def observed(settings: Settings, value: bytes | None, key: bytes | None = KEY.encode()) -> Record:
    return Record(settings.topics.observations, PARTITION, key, value)


async def track(settings: Settings) -> tuple[int, str]:
    """Run the tracker as in production until it ends by itself."""
    return await run("track", **_environment(settings))


async def track_to_the_end(settings: Settings) -> None:
    """Run the tracker until it has taken everything there is."""
    async with running(settings, [Service("track", settings.track_health_port)], _silent):
        await caught_up(settings.kafka, settings.topics)


@pytest.mark.parametrize(
    ("key", "value"),
    [(KEY.encode(), b"not an observation"), (None, encode(seen("delivered", NOW + 2)))],
    ids=["no JSON", "no key"],
)
async def test_an_unreadable_record_stops_the_tracker(
    settings: Settings, key: bytes | None, value: bytes | None
) -> None:
    """The tracker ends with the record's coordinates, and nothing past it is taken."""
    good = observed(settings, encode(seen("sent", NOW + 1)))
    await write(settings, [good, observed(settings, value, key), good])

    code, output = await track(settings)

    assert code == 1
    assert "Traceback" not in output
    assert f"{settings.topics.observations}[{PARTITION}] offset 1 is not an observation" in output
    offsets = await committed(
        settings.kafka, settings.topics.group("track"), settings.topics.observations
    )
    assert offsets[PARTITION] <= 1


async def test_a_log_cut_before_it_was_read_is_told(settings: Settings) -> None:
    """What retention took before it was processed is named; the tracker does not jump over it."""
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))] * 3)
    await track_to_the_end(settings)
    await write(settings, [observed(settings, encode(seen("delivered", NOW + 2)))] * 3)
    await _cut(settings, 5)

    code, output = await track(settings)

    assert code == 1
    assert "Traceback" not in output
    place = f"{settings.topics.observations}[{PARTITION}]"
    assert f"{place} was to be read from offset 3, but now starts at 5: " in output
    assert "retention deleted 2 records, 3 to 4, received before 20" in output


async def test_a_record_of_a_newer_format_is_refused(settings: Settings) -> None:
    """A state written by a later Bluetick is not half understood by this one."""
    state = MessageState(
        message_key=KEY,
        version=99,
        provider="smsmanager",
        account="-",
        first_seen_at=1,
        updated_at=1,
    )
    await write(
        settings, [Record(settings.topics.messages, PARTITION, KEY.encode(), encode(state))]
    )
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])

    code, output = await track(settings)

    assert code == 1
    assert "state format 99 is newer" in output


async def test_a_spoilt_store_is_rebuilt(settings: Settings) -> None:
    """When the store's directory is damaged, no fact is forgotten and none told twice."""
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
    await track_to_the_end(settings)
    store = settings.data / settings.namespace / "track" / str(PARTITION)
    for file in store.glob("MANIFEST-*"):
        file.write_bytes(file.read_bytes()[:10])

    again = [seen("sent", NOW + 1), seen("delivered", NOW + 2)]
    await write(settings, [observed(settings, encode(one)) for one in again])
    await track_to_the_end(settings)

    statuses = await read(settings.kafka, settings.topics.statuses)
    assert [b'"status":"sent"' in r.value for r in statuses] == [True, False]
    [*_, state] = await read(settings.kafka, settings.topics.messages)
    assert b'"sent"' in state.value
    assert b'"delivered"' in state.value


async def test_a_lost_delivery_is_never_committed(settings: Settings) -> None:
    """While Kafka refuses one output, none of its batch is committed; once it does not, all is."""
    big = encode(seen("sent", NOW + 1, payload={"text": secrets.token_hex(4000)}))
    await _largest(settings, 2000)
    await write(settings, [observed(settings, big)])

    code, output = await track(settings)

    assert code == 1
    assert f"for {settings.topics.statuses}[{PARTITION}] as too large" in output
    group = settings.topics.group("track")
    before = await committed(settings.kafka, group, settings.topics.observations)
    assert before[PARTITION] < 1
    assert await read(settings.kafka, settings.topics.messages) == []
    await _largest(settings, 2_000_000)
    await track_to_the_end(settings)
    assert len(await read(settings.kafka, settings.topics.statuses)) == 1
    assert len(await read(settings.kafka, settings.topics.messages)) == 1


async def test_a_topic_made_anew_is_not_taken_for_the_old_one(settings: Settings) -> None:
    """A store of the topic's earlier life is noticed: new facts are published all the same."""
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
    await track_to_the_end(settings)
    await topics.drop(settings)
    await topics.apply(settings)

    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
    elsewhere = settings.model_copy(update={"data": settings.data / "elsewhere"})
    await track_to_the_end(elsewhere)
    await write(settings, [observed(settings, encode(seen("delivered", NOW + 2)))])
    await track_to_the_end(settings)

    statuses = await read(settings.kafka, settings.topics.statuses)
    assert [b'"status":"sent"' in r.value for r in statuses] == [True, False]
    [*_, state] = await read(settings.kafka, settings.topics.messages)
    assert (b'"sent"' in state.value, b'"delivered"' in state.value) == (True, True)


async def test_services_stop_though_kafka_is_silent(tmp_path: Path) -> None:
    """SIGTERM ends both services in time while the broker is frozen, with work in their hands."""
    async with LocalKafka(tmp_path / "kafka") as kafka:
        settings = Settings(
            kafka=kafka.bootstrap,
            partitions=3,
            data=tmp_path / "data",
            transaction_timeout=5,
            normalise_health_port=free_port(0),
            track_health_port=free_port(0),
        )
        await topics.apply(settings)
        services = [
            Service("normalise", settings.normalise_health_port),
            Service("track", settings.track_health_port),
        ]
        async with running(settings, services, _silent) as started:
            await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
            kafka.pause()
            await asyncio.gather(*(one.stop(seconds=40) for one in started))
            assert [one.exit_code for one in started] == [0, 0]
        kafka.resume()


async def _largest(settings: Settings, size: int) -> None:
    """Set the largest batch the topic of statuses takes, in bytes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    config = {"max.message.bytes": str(size)}
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, settings.topics.statuses, config)]
    )
    await admin.close()


async def _cut(settings: Settings, offset: int) -> None:
    """Delete the partition's records before an offset, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    place = TopicPartition(settings.topics.observations, PARTITION)
    await admin.delete_records({place: RecordsToDelete(offset)})
    await admin.close()


def _environment(settings: Settings) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "data", "track_health_port", "session_timeout")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}


def _silent(_: str, __: str) -> None:
    pass
