"""Dead letters on a real Kafka: a flood of them, a topic that takes none, a log that was cut."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from console import client
from console.services import Running, Service, running
from deploy import topics
from schemas.settings import Settings
from tests.broker.hooks import until
from tests.broker.reading import caught_up_with, committed, read
from tests.broker.writing import Record, write
from tests.e2e.commands import run

BAD = b"not JSON"
SECONDS = 60


def good(number: int) -> bytes:
    entry = {"message_id": f"m-{number}", "gateway": "sms", "timestamp": 1_700_000_000 + number}
    return json.dumps([{**entry, "result": "delivered", "type": "outgoing"}]).encode()


async def arrive(
    settings: Settings, *bodies: bytes, provider: str = "smsmanager", partition: int = 0
) -> None:
    topic = settings.topics.raw(provider)
    await write(settings, [Record(topic, partition, None, body) for body in bodies])


class Log:
    """What a service said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _: str, line: str) -> None:
        self.lines.append(line)


@asynccontextmanager
async def normaliser(settings: Settings, log: Log | None = None) -> AsyncIterator[Running]:
    service = Service("normalise", settings.normalise_health_port)
    async with running(settings, [service], log or Log()) as [one]:
        yield one


async def health(settings: Settings) -> list[str]:
    """What the normaliser says is wrong; nothing if it is ready."""
    url = f"http://127.0.0.1:{settings.normalise_health_port}"
    told = json.loads((await client.get(url, "/health/ready")).body)
    assert told["ready"] == (not told["problems"])
    return [str(problem) for problem in told["problems"]]


async def until_told(settings: Settings, words: str) -> str:
    """Wait until health says so; the sentence."""
    async with asyncio.timeout(SECONDS):
        while True:
            for problem in await health(settings):
                if words in problem:
                    return problem
            await asyncio.sleep(0.05)


async def configure(settings: Settings, **config: str) -> None:
    """Give the topic of dead letters these settings, and no others."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    named = {name.replace("_", "."): value for name, value in config.items()}
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.topics.dead_letters, named)
    await admin.alter_configs([resource])
    await admin.close()


async def delete(settings: Settings) -> None:
    """Delete the topic of dead letters."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([settings.topics.dead_letters])
    await admin.close()


async def cut(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Delete a partition's records before an offset, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(offset)})
    await admin.close()


async def position(settings: Settings, provider: str) -> int:
    """How far the normaliser is on the first partition."""
    group, topic = settings.topics.group("normalise"), settings.topics.raw(provider)
    return max(0, (await committed(settings.kafka, group, topic))[0])


async def test_a_flood_stops_its_provider_and_no_other(settings: Settings) -> None:
    """Nothing of the round is published or committed; the others go on; health says all of it."""
    limited = settings.model_copy(update={"dead_letter_run": 20})
    raw = settings.topics.raw("whapi")
    await arrive(settings, *[BAD] * 21, provider="whapi")
    await arrive(settings, *[BAD] * 20, good(1))
    log = Log()
    async with normaliser(limited, log) as started:
        told = await until_told(settings, "whapi is stopped")
        await arrive(settings, *[BAD] * 20, good(2))

        async def other() -> bool:
            return await position(settings, "smsmanager") == 42

        await until(other)
        metrics = await client.get(started.service.url, "/metrics")
        live = await client.get(started.service.url, "/health/live")
    assert (
        f"21 bodies in a row would be dead letters, most of them not_json, the first {raw}[0]@0"
        in told
    )
    assert "BLUETICK_DEAD_LETTER_RUN" in told
    assert b'bluetick_dead_letter_stopped{provider="whapi"} 1.0' in metrics.body
    assert b'bluetick_dead_letter_stopped{provider="smsmanager"} 0.0' in metrics.body
    assert live.status == 200
    assert started.exit_code == 0
    assert sum("ERROR" in line and told in line for line in log.lines) == 1
    assert await position(settings, "whapi") == 0
    letters = await read(settings.kafka, settings.topics.dead_letters)
    origins = {letter.headers["__streams.errors.topic"].decode() for letter in letters}
    assert (len(letters), origins) == (40, {settings.topics.raw("smsmanager")})
    assert len(await read(settings.kafka, settings.topics.observations)) == 2

    raised = settings.model_copy(update={"dead_letter_run": 21})
    async with normaliser(raised):
        await caught_up_with(settings.kafka, settings.topics, "normalise")
    assert len(await read(settings.kafka, settings.topics.dead_letters)) == 61


@pytest.mark.parametrize("trouble", ["deleted", "compacted", "too large"])
async def test_dead_letters_that_cannot_be_kept_stop_the_round(
    settings: Settings, trouble: str
) -> None:
    """Nothing is committed and health is red until the topic takes them; then nothing is lost."""
    topic = settings.topics.dead_letters
    large = b"no JSON " + secrets.token_hex(20_000).encode()
    words = {
        "deleted": f"topic {topic} is missing",
        "compacted": f"what goes to {topic} (",  # where records without a key are refused
        "too large": f"what goes to {topic} (MessageSizeTooLargeError): raise its max.message",
    }
    async with normaliser(settings):
        await arrive(settings, good(1))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        if trouble == "deleted":
            await delete(settings)
        elif trouble == "compacted":
            await configure(settings, cleanup_policy="compact")
        else:
            await configure(settings, max_message_bytes="1000")
        await arrive(settings, large, good(2))
        await until_told(settings, words[trouble])
        # Red it stays, through the rounds that are tried meanwhile.
        for _ in range(20):
            assert await health(settings)
        assert await position(settings, "smsmanager") == 1
        if trouble == "deleted":
            await topics.apply(settings)
        else:
            await configure(settings, cleanup_policy="delete")
        await caught_up_with(settings.kafka, settings.topics, "normalise")

        async def well() -> bool:
            return not await health(settings)

        await until(well)
    values = {letter.value for letter in await read(settings.kafka, topic)}
    assert values == {large}
    observed = await read(settings.kafka, settings.topics.observations)
    assert {record.key for record in observed} == {"smsmanager/-/m-1", "smsmanager/-/m-2"}


async def test_a_raw_log_cut_before_it_was_read_is_told(settings: Settings) -> None:
    """The normaliser ends and names the gap: how many, which, until when, and what to do."""
    topic = settings.topics.raw("smsmanager")
    async with normaliser(settings):
        await arrive(settings, *map(good, range(3)))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
    await arrive(settings, *map(good, range(3, 9)))
    await cut(settings, topic, 0, 7)

    code, output = await run("normalise", **environment(settings))

    assert code == 1
    assert "Traceback" not in output
    last = output.rstrip().splitlines()[-1]
    assert f"{topic}[0] was to be read from offset 3, but now starts at 7: " in last
    assert "retention deleted 4 records, 3 to 6, received before 20" in last
    assert "--offsets 0:3-7" in last
    assert await position(settings, "smsmanager") == 3


def environment(settings: Settings) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "data", "normalise_health_port")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}
