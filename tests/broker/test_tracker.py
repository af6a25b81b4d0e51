"""The tracker in unusual cases: dead letters, deleted records, a damaged store."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cli.processes import Service, running, start
from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from processors.dead_letters import record
from schemas.bounds import BOUNDS
from schemas.codec import (
    decode_inbound,
    decode_observation,
    decode_state,
    decode_status,
    encode,
)
from schemas.processor_list import PROCESSORS
from schemas.records import MessageState, StatusObservation, message_key
from schemas.topics import partition_of
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, read
from tests.e2e.commands import command
from tests.unit.messages import KEY, inbound, seen

PARTITION = partition_of(KEY, 3)
NOW = round(time.time() * 1000)  # older messages would expire at once
KEYS = [message_key("smsmanager", None, f"other-{n}") for n in range(60)]
OTHER = next(key for key in KEYS if partition_of(key, 3) != PARTITION)


def observed(settings: Settings, value: bytes | None, key: bytes | None = KEY.encode()) -> Record:
    return Record(settings.topics.observations, PARTITION, key, value)


def elsewhere(settings: Settings) -> Record:
    """Return an observation on another partition."""
    value = encode(seen("sent", NOW + 1, message_key=OTHER))
    return Record(settings.topics.observations, partition_of(OTHER, 3), OTHER.encode(), value)


def _on_the_same_partition() -> list[StatusObservation]:
    """Return one observation of each of ten messages on the same partition."""
    keys = [key for key in KEYS if partition_of(key, 3) == PARTITION][:10]
    return [seen("sent", NOW + 1, message_key=key) for key in keys]


async def _published(settings: Settings, key: str) -> None:
    """Wait until a message with that key has a status on its topic."""
    async with asyncio.timeout(60):
        keys = set[str]()
        while key not in keys:
            keys = {one.key for one in await read(settings.kafka, settings.topics.statuses)}


async def track_to_the_end(settings: Settings) -> None:
    """Run the tracker to the end of its input; it may set records aside, and then is not ready."""
    tracker = await start(settings, Service("track", settings.health_port("track")), _silent)
    try:
        await caught_up(settings.kafka, settings.topics)
    finally:
        await tracker.stop()


@pytest.mark.parametrize(
    ("key", "value"),
    [(KEY.encode(), b"not an observation"), (None, encode(seen("delivered", NOW + 2)))],
    ids=["no JSON", "no key"],
)
async def test_an_unreadable_record_is_set_aside(
    settings: Settings, key: bytes | None, value: bytes
) -> None:
    """It becomes one dead letter with its coordinates, and later records are processed."""
    good, later = seen("sent", NOW + 1), seen("delivered", NOW + 2)
    await write(
        settings,
        [
            observed(settings, encode(good)),
            observed(settings, value, key),
            observed(settings, encode(later)),
        ],
    )

    await track_to_the_end(settings)

    [letter] = await read(settings.kafka, settings.topics.dead_letters)
    assert (letter.partition, letter.value) == (PARTITION, value)
    assert letter.headers[record.CODE] == b"not_an_observation"
    assert letter.headers[record.OFFSET] == b"1"
    assert letter.headers[record.OBSERVED].endswith(f".observations/{PARTITION}/1".encode())
    statuses = await read(settings.kafka, settings.topics.statuses)
    assert [decode_status(one.value).status for one in statuses] == ["sent", "delivered"]


async def test_a_better_content_is_a_correction(settings: Settings) -> None:
    """Both are on `inbound`, with ids, subject and source; another tracker repeats neither."""
    contents = [{"type": "unknown"}, {"type": "text", "text": "hi"}, {"type": "unknown"}]
    observations = [observed(settings, encode(inbound(NOW, content=one))) for one in contents]
    settings = settings.model_copy(update={"installation": "eu-1"})

    for _ in range(2):
        await write(settings, observations)
        await track_to_the_end(settings)

    found = await read(settings.kafka, settings.topics.inbound)
    records = [decode_inbound(one.value) for one in found]
    assert [(one.revision, one.content) for one in records] == [*enumerate(contents[:2])]
    assert len({one.headers["ce_id"] for one in found}) == 2
    assert {one.headers["ce_subject"] for one in found} == {KEY.encode()}
    assert {one.headers["ce_source"] for one in found} == {b"/bluetick/eu-1/track"}
    state = (await read(settings.kafka, settings.topics.messages))[-1]
    assert decode_state(state.value).content == contents[1]


async def test_deleted_unread_records_stop_their_partition(settings: Settings) -> None:
    """The tracker reports the gap and does not skip it; other partitions continue."""
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))] * 3)
    await track_to_the_end(settings)
    await write(settings, [observed(settings, encode(seen("delivered", NOW + 2)))] * 3)
    await _cut(settings, 5)

    async with command("track", **_environment(settings)) as tracker:
        await tracker.until("it is tried again each minute")
        await write(settings, [elsewhere(settings)])
        await _published(settings, OTHER)

    assert "Traceback" not in tracker.output
    place = f"{settings.topics.observations}[{PARTITION}]"
    assert f"{place} is to be read from offset 3, but it now starts at 5: " in tracker.output
    assert "retention deleted 2 unprocessed records, 3 to 4, received before 20" in tracker.output


async def test_a_state_of_a_newer_format_stops_its_partition(settings: Settings) -> None:
    """A state written by a later version is not read in part; no dead letter is made."""
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
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1))), elsewhere(settings)])

    async with command("track", **_environment(settings)) as tracker:
        await tracker.until(f".observations[{PARTITION}] is stopped: ")
        await _published(settings, OTHER)

    assert "stopped: state format 99 is newer than 3, the newest that this Blue" in tracker.output
    assert "run the release that wrote it (docs/upgrading.md); it is tried again" in tracker.output
    assert await read(settings.kafka, settings.topics.dead_letters) == []


@pytest.mark.long
async def test_a_damaged_store_is_rebuilt(settings: Settings) -> None:
    """When the store's directory is damaged, no fact is lost and none is published twice."""
    await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
    await track_to_the_end(settings)
    store = settings.stores / "track" / str(PARTITION)
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


@pytest.mark.long
async def test_a_message_that_a_topic_refuses_becomes_dead_letters(settings: Settings) -> None:
    """Only its observations become dead letters; a retry publishes them after the fix."""
    big = seen("sent", NOW + 1, payload={"text": secrets.token_hex(4000)})
    others = _on_the_same_partition()
    await _largest(settings, 2000)
    few = [observed(settings, encode(one), one.message_key.encode()) for one in others]
    await write(settings, [*few[:5], observed(settings, encode(big)), *few[5:]])

    await track_to_the_end(settings)

    [letter] = await read(settings.kafka, settings.topics.dead_letters)
    assert letter.headers[record.CODE] == b"too_large"
    assert settings.topics.statuses.encode() in letter.headers[record.MESSAGE]
    assert decode_observation(letter.value) == big
    statuses = await read(settings.kafka, settings.topics.statuses)
    assert [one.key for one in statuses] == [one.message_key for one in others]

    await _largest(settings, 2_000_000)
    await write(settings, [observed(settings, letter.value)])
    await track_to_the_end(settings)
    assert len(await read(settings.kafka, settings.topics.statuses)) == 11
    assert len(await read(settings.kafka, settings.topics.dead_letters)) == 1


async def test_observations_past_a_bound_are_dead_letters_once(settings: Settings) -> None:
    """Each becomes one dead letter with its coordinates; facts within the bounds are published."""
    reports = [seen("sent", NOW + n, f"gateway-{n:03}") for n in range(40)]
    await write(settings, [observed(settings, encode(one)) for one in reports])

    await track_to_the_end(settings)

    letters = await read(settings.kafka, settings.topics.dead_letters)
    statuses = await read(settings.kafka, settings.topics.statuses)
    assert [decode_observation(one.value) for one in letters] == reports[BOUNDS.attempts :]
    assert {one.headers[record.CODE] for one in letters} == {b"too_many_attempts"}
    assert [one.headers[record.POINTER] for one in letters] == [b"#0"] * len(letters)
    assert len(statuses) == BOUNDS.attempts


@pytest.mark.long
async def test_a_recreated_topic_is_not_mistaken_for_the_old_one(settings: Settings) -> None:
    """A store of the deleted topic is detected: new facts are still published."""
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


@pytest.mark.long
async def test_services_stop_though_kafka_is_silent(tmp_path: Path) -> None:
    """SIGTERM ends both services in time while the broker is frozen and records are in flight."""
    async with LocalKafka(tmp_path / "kafka") as kafka:
        settings = Settings(
            kafka=kafka.bootstrap,
            partitions=3,
            data=tmp_path / "data",
            transaction_timeout=5,
        ).model_copy(update={one.port_setting: free_port(0) for one in PROCESSORS})
        await topics.apply(settings)
        services = [
            Service("normalise", settings.health_port("normalise")),
            Service("track", settings.health_port("track")),
        ]
        async with running(settings, services, _silent) as started:
            await write(settings, [observed(settings, encode(seen("sent", NOW + 1)))])
            kafka.pause()
            await asyncio.gather(*(one.stop(seconds=40) for one in started))
            assert [one.exit_code for one in started] == [0, 0]
        kafka.resume()


async def _largest(settings: Settings, size: int) -> None:
    """Set the largest batch that the topic of statuses accepts, in bytes."""
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
