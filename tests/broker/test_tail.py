"""`bluetick tail` on a real Kafka: the records shown, the start and the end."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiokafka import AIOKafkaProducer

from cli import tail
from cli.options import Following
from cli.output.records import Record
from deploy import topics
from deploy.local_kafka.broker import free_port
from providers import NAMES
from schemas.topics import Topics, partition_of
from service.errors import Problem
from service.settings import Settings
from tests import HOME

PARTITIONS = 3

# More keys than partitions: some share one.
KEYS = ("smsmanager/-/a", "smsmanager/-/b", "smsmanager/-/c", "smsmanager/-/d")

SCRIPT = """
import sys
from cli import tail
from cli.options import Following
from service.settings import Settings
settings = Settings(kafka=sys.argv[1], namespace=sys.argv[2])
sys.exit(tail.run(settings, "raw.whapi", Following(from_start=True)))
"""


@pytest.fixture
async def settings(kafka: str, namespace: str) -> AsyncIterator[Settings]:
    """A new namespace on the broker, with its topics."""
    settings = Settings(kafka=kafka, namespace=namespace, partitions=PARTITIONS, replication=1)
    await topics.apply(settings)
    yield settings
    await topics.drop(settings)


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        yield producer


async def write(producer: AIOKafkaProducer, topic: str, key: str, value: bytes) -> None:
    await producer.send_and_wait(
        topic, value, key=key.encode(), partition=partition_of(key, PARTITIONS)
    )


def start(settings: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, settings.kafka, settings.namespace]
    return subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def shown(settings: Settings, key: str | None = None) -> list[Record]:
    """Return all records that tail shows of `events`."""
    following = tail.follow(
        settings, settings.topics.events, from_start=True, until_end=True, key=key
    )
    return [record async for record in following]


async def test_all_committed_records_are_shown(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    """Every record of every partition is shown, in its partition's order."""
    for number in range(30):
        key = KEYS[number % 4]
        await write(producer, settings.topics.events, key, b"%d" % number)
    records = await shown(settings)
    assert sorted(int(record.value or b"") for record in records) == list(range(30))
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == sorted(offsets)


async def test_aborted_records_are_not_shown(kafka: str, settings: Settings) -> None:
    """The records of an aborted transaction are skipped, and the end is still found."""
    topic = settings.topics.events
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, transactional_id=f"{settings.namespace}.x"
    ) as producer:
        for outcome in (b"committed", b"aborted"):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, outcome, key=b"k", partition=0)
            if outcome == b"committed":
                await producer.commit_transaction()
            else:
                await producer.abort_transaction()
        assert [record.value for record in await shown(settings)] == [b"committed"]


async def test_a_key_shows_its_records_alone(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    """With a key, only its records are shown, not others of the same partition."""
    homes = [partition_of(key, PARTITIONS) for key in KEYS]
    assert len(set(homes)) < len(homes), "two keys should share a partition"
    for key in KEYS:
        await write(producer, settings.topics.events, key, key.encode())
    for key in KEYS:
        assert [record.value for record in await shown(settings, key)] == [key.encode()]


async def test_only_new_records_are_shown_by_default(
    settings: Settings, producer: AIOKafkaProducer
) -> None:
    """Without `from_start` only later records are shown."""
    topic = settings.topics.events
    await write(producer, topic, KEYS[0], b"old")
    async with aclosing(tail.follow(settings, topic, from_start=False)) as records:
        coming = asyncio.ensure_future(anext(records))
        while not coming.done():
            await write(producer, topic, KEYS[0], b"new")
            await asyncio.wait({coming}, timeout=0.2)
        assert (await coming).value == b"new"


async def test_a_missing_topic_is_a_problem(kafka: str, namespace: str) -> None:
    """A missing topic is named with what to do, and the request does not create it."""
    settings = Settings(kafka=kafka, namespace=namespace)
    for _ in range(2):
        with pytest.raises(Problem, match=rf"{namespace}\.events does not exist.*topics apply"):
            await shown(settings)


async def test_a_silent_kafka_is_a_problem() -> None:
    """Without a broker the problem names its address."""
    settings = Settings(kafka=f"127.0.0.1:{(port := free_port(0))}")
    with pytest.raises(Problem, match=f"does not answer at 127.0.0.1:{port}"):
        await shown(settings)


async def test_run_prints_lines_up_to_a_limit(
    settings: Settings, producer: AIOKafkaProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints text or JSON lines, up to the limit."""
    for number in range(5):
        await write(producer, settings.topics.raw("whapi"), KEYS[0], b'{"n": %d}' % number)
    run = asyncio.to_thread(tail.run, settings, "raw.whapi", Following(until_end=True, limit=2))
    assert await run == 0
    assert [line.split("  ")[2] for line in capsys.readouterr().out.splitlines()] == ["8 bytes"] * 2
    run = asyncio.to_thread(tail.run, settings, "raw.whapi", Following(until_end=True, json=True))
    assert await run == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["key"], one["value"]) for one in printed] == [
        (KEYS[0], {"n": n}) for n in range(5)
    ]


@pytest.mark.parametrize("end", ["closed pipe", "Ctrl-C"])
async def test_it_ends_cleanly(settings: Settings, producer: AIOKafkaProducer, end: str) -> None:
    """A closed output, or Ctrl-C, ends it with code 0 and without a message."""
    topic = settings.topics.raw("whapi")
    await write(producer, topic, KEYS[0], b"first")
    process = await asyncio.to_thread(start, settings)
    assert process.stdout
    assert process.stderr
    with process:
        try:
            assert b"5 bytes" in await asyncio.to_thread(process.stdout.readline)
            if end == "Ctrl-C":
                process.send_signal(signal.SIGINT)
            else:
                process.stdout.close()
                await write(producer, topic, KEYS[0], b"unread")
            assert await asyncio.to_thread(process.wait, 30) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("events", ("events", "shop.events")),
        ("shop.events", ("events", "shop.events")),
        ("raw.whapi", ("raw", "shop.raw.whapi")),
        ("dead-letters", ("dead-letters", "shop.dead-letters")),
    ],
)
def test_short_and_full_names_are_understood(name: str, expected: tuple[str, str]) -> None:
    """A topic may be named with or without its namespace."""
    assert tail.resolve(Topics("shop", providers=NAMES), name) == expected


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("evnts", None, "no topic 'evnts'; the topics are: raw.smsmanager, .*events"),
        ("bluetick.events", None, "no topic"),
        ("raw.whapi", "k", "have no keys"),
        ("dead-letters", "k", "have no keys"),
    ],
)
def test_invalid_names_are_refused(name: str, key: str | None, words: str) -> None:
    """An unknown topic gets the list of known ones; a key for a topic without keys is refused."""
    with pytest.raises(Problem, match=words):
        tail.resolve(Topics("shop", providers=NAMES), name, key)
