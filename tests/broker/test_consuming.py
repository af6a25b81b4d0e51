"""The consumers of docs/consuming on a real Kafka: each prints every fact, once.

The Python example always runs, the one on librdkafka in the tests that show where it differs.
docs/consuming/check builds those in Java, Go and TypeScript, and runs all tests for all of them.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cli.processes import Service, running
from deploy.local_kafka.broker import free_port
from schemas.codec import encode
from schemas.records import Observation, StatusRecord, message_key
from schemas.topics import partition_of
from schemas.webhook import cloud_event, to_iso
from service.kafka import clients
from service.settings import Settings
from tests import HOME as CHECKOUT
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, read
from tests.unit.messages import seen

HOME = CHECKOUT / "docs/consuming"
SECONDS = 60
BATCH = 500  # the most records that each of them reads at a time
PAGE = 4096  # the smallest pipe: a writer of a batch must wait for its reader
NOW = round(time.time() * 1000)


@dataclass(frozen=True)
class Program:
    """One of the examples: its command, and its exit code after SIGTERM."""

    command: tuple[str, ...]
    ended: int = 0


PROGRAMS = {"python": Program((sys.executable, str(HOME / "statuses.py")))}
if jar := os.environ.get("STATUSES_JAVA"):
    PROGRAMS["java"] = Program(("java", "-jar", jar), ended=128 + signal.SIGTERM)  # as every JVM
if binary := os.environ.get("STATUSES_GO"):
    PROGRAMS["go"] = Program((binary,))
if script := os.environ.get("STATUSES_TYPESCRIPT"):
    PROGRAMS["typescript"] = Program(("node", script))
LIBRDKAFKA = Program((sys.executable, str(HOME / "librdkafka.py")))
if len(PROGRAMS) > 1:
    PROGRAMS["librdkafka"] = LIBRDKAFKA
with_librdkafka = pytest.mark.parametrize(
    "program", sorted({*PROGRAMS, "librdkafka"}), indirect=True
)


@pytest.fixture(params=[*PROGRAMS])
def program(request: pytest.FixtureRequest) -> Program:
    return PROGRAMS.get(request.param, LIBRDKAFKA)


class Consumer:
    """A running example and the lines it has printed so far."""

    def __init__(self, program: Program, process: Process) -> None:
        assert process.stdout is not None
        self._program = program
        self._process = process
        self._stdout = process.stdout
        self.lines: list[str] = []

    async def until(self, count: int) -> list[str]:
        """Read its lines until there are `count`."""
        async with asyncio.timeout(SECONDS):
            while len(self.lines) < count:
                line = await self._stdout.readline()
                assert line, f"it ended after {self.lines}"
                self.lines.append(line.decode().rstrip("\n"))
        return self.lines

    async def follow(self) -> None:
        """Read its lines until it ends; an incomplete line is discarded."""
        while (line := await self._stdout.readline()).endswith(b"\n"):
            self.lines.append(line.decode().rstrip("\n"))

    async def end(self) -> list[str]:
        """Send SIGTERM; returns all its lines."""
        self._process.terminate()
        async with asyncio.timeout(SECONDS):
            await self.follow()
            assert await self._process.wait() == self._program.ended
        return self.lines

    def hold(self) -> None:
        """Limit its output to little more than was read here, far less than a batch."""
        stdout: Any = self._stdout
        pipe = stdout._transport.get_extra_info("pipe")
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PAGE)

    async def kill(self) -> list[str]:
        """Send SIGKILL; returns all its lines."""
        self._process.kill()
        await self.follow()
        return self.lines


@asynccontextmanager
async def consuming(
    program: Program, settings: Settings, *options: str, group: str = "g", ahead: int = 2**16
) -> AsyncIterator[Consumer]:
    """Start an example that can write at least `ahead` bytes before it waits for the reader."""
    group = f"{settings.namespace}.{group}"
    process = await asyncio.create_subprocess_exec(
        *program.command,
        *("--group", group, *options, settings.kafka, settings.namespace),
        # Otherwise the test would not detect that it commits without a flush.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdin=DEVNULL,
        stdout=PIPE,
        limit=ahead,
    )
    try:
        yield Consumer(program, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*command: str) -> tuple[int | None, str, str]:
    """Run a program to its end; returns its exit code, its output and its last error line."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode().rpartition("\n")[0].rpartition("\n")[2]


async def complaint(program: Program, *arguments: str) -> str:
    """Run an example that must fail; returns its last error line."""
    code, output, error = await run(*program.command, *arguments)
    assert (code, output) == (1, "")
    return error


def keyed(number: int) -> str:
    return message_key("smsmanager", None, f"m{number}")


def status(settings: Settings, number: int, **more: object) -> Record:
    """Return a status as the tracker publishes it, of message `number`."""
    key = keyed(number)
    one = seen("sent", NOW + number, message_key=key)
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    record = StatusRecord(**fields, verdict="advanced", message_status="sent")
    return Record(
        settings.topics.statuses,
        partition_of(key, settings.partitions),
        key.encode(),
        encode(json.loads(encode(record)) | more),
        cloud_event(type_="bluetick.message.status", id_=key, source="/x", time=NOW),
    )


def line(number: int) -> str:
    return f"{keyed(number)}\tsent\tadvanced\t{to_iso(NOW + number)}\tlive"


def lines(numbers: Iterable[int]) -> list[str]:
    return sorted(map(line, numbers))


async def observe(settings: Settings, *observations: Observation) -> None:
    records = [
        Record(
            settings.topics.observations,
            partition_of(one.message_key, settings.partitions),
            one.message_key.encode(),
            encode(one),
        )
        for one in observations
    ]
    await write(settings, records)
    await caught_up(settings.kafka, settings.topics)


def by_key(printed: Sequence[str]) -> list[str]:
    """Sort lines by key; the lines of a key keep their order."""
    return sorted(printed, key=lambda text: text.split("\t")[0])


@with_librdkafka
async def test_published_statuses_are_printed(program: Program, settings: Settings) -> None:
    """All statuses, each fact once, in the order of their key; also from a given time."""
    a, b, c = (message_key("smsmanager", None, name) for name in "abc")
    service = Service("track", settings.health_port("track"))
    async with (
        running(settings, [service], lambda *_: None),
        consuming(program, settings) as consumer,
    ):
        sent, delivered = seen("sent", NOW, message_key=a), seen("delivered", NOW, message_key=b)
        await observe(settings, sent, sent, delivered, seen("sent", NOW - 1, message_key=b))
        earlier = [
            f"{a}\tsent\tadvanced\t{to_iso(NOW)}\tlive",
            f"{b}\tdelivered\tadvanced\t{to_iso(NOW)}\tlive",
            f"{b}\tsent\tlate\t{to_iso(NOW - 1)}\tlive",
        ]
        assert by_key(await consumer.until(3)) == earlier

        before = await read(settings.kafka, settings.topics.statuses)
        replayed = seen("read", NOW + 1, message_key=b, replay="r1")
        timeless = seen("unknown", None, message_key=c, received_at=NOW, provider_status="odd")
        await observe(settings, replayed, timeless, sent)
        later = [
            f"{b}\tread\tadvanced\t{to_iso(NOW + 1)}\treplay",
            f"{c}\tunknown\taside\t-\tlive",
        ]
        assert by_key(await consumer.until(5)) == by_key(earlier + later)
        assert len(await consumer.end()) == 5

    since = to_iso(1 + max(record.timestamp for record in before))
    async with consuming(program, settings, "--since", since, group="other") as consumer:
        await consumer.until(2)
        assert by_key(await consumer.end()) == later


async def test_a_time_is_for_a_new_group_only(program: Program, settings: Settings) -> None:
    """Without later records a group begins at the end; after that, at its committed offset."""
    await write(settings, [status(settings, 0)])
    [old] = await read(settings.kafka, settings.topics.statuses)
    since = ("--since", to_iso(old.timestamp + 1))
    await write(settings, [status(settings, number) for number in (1, 2)])
    async with consuming(program, settings, *since) as consumer:
        await consumer.until(2)
        assert sorted(await consumer.end()) == lines([1, 2])

    await write(settings, [status(settings, number) for number in (3, 4)])
    async with consuming(program, settings, *since) as consumer:
        await consumer.until(2)
        assert sorted(await consumer.end()) == lines([3, 4])


async def test_a_kill_loses_nothing(program: Program, settings: Settings) -> None:
    """A kill within a batch repeats that batch at most, and none before it."""
    count = 6 * BATCH
    await write(settings, [status(settings, number) for number in range(count)])
    async with consuming(program, settings, ahead=PAGE // 4) as consumer:
        consumer.hold()
        await consumer.until(3 * BATCH + BATCH // 4)
        first = await consumer.kill()
    assert len(first) < 4 * BATCH, "it was not killed within a batch"

    left = set(lines(range(count))) - set(first)
    async with consuming(program, settings) as consumer:
        while left:
            left.discard((await consumer.until(len(consumer.lines) + 1))[-1])
        second = await consumer.end()

    assert set(first) | set(second) == set(lines(range(count)))
    assert set(first[:-BATCH]).isdisjoint(second)
    assert max(Counter(first).values()) == max(Counter(second).values()) == 1


async def test_aborted_records_are_not_printed(program: Program, settings: Settings) -> None:
    """Records of an aborted transaction are skipped; an open one blocks the records after it."""
    await write(settings, [status(settings, 0)])
    for number, commits in ((1, False), (2, True)):
        async with clients.producer(settings, f"{settings.namespace}.{number}") as producer:
            await producer.begin_transaction()
            given = status(settings, number)
            await producer.send_and_wait(
                given.topic, given.value, given.key, partition=0, headers=list(given.headers)
            )
            await (producer.commit_transaction() if commits else producer.abort_transaction())
    async with consuming(program, settings) as consumer:
        await consumer.until(2)
        await write(settings, [status(settings, 3)])
        await consumer.until(3)
        assert sorted(await consumer.end()) == lines([0, 2, 3])


async def test_members_hand_over_without_repeating(program: Program, settings: Settings) -> None:
    """One member joins during traffic, the other leaves: together they print each fact once."""
    count = 0

    async def write_until(enough: asyncio.Event) -> None:
        nonlocal count
        async with clients.producer(settings) as producer:
            while not enough.is_set():
                given = status(settings, count)
                await producer.send_and_wait(
                    given.topic,
                    given.value,
                    given.key,
                    partition=given.partition,
                    headers=list(given.headers),
                )
                count += 1

    enough = asyncio.Event()
    async with (
        consuming(program, settings, ahead=2**22) as one,
        consuming(program, settings, ahead=2**22) as other,
    ):
        writing = asyncio.create_task(write_until(enough))
        # The first member had all partitions until the second one joined and printed too.
        await asyncio.gather(one.until(1), other.until(1))
        await one.end()
        enough.set()
        await writing
        await other.until(count - len(one.lines))
        await other.end()
    assert sorted(one.lines + other.lines) == lines(range(count))


async def test_a_known_id_is_skipped(program: Program, settings: Settings) -> None:
    """The same fact twice, as after a commit that failed, is handled once."""
    records = [status(settings, number)._replace(partition=0) for number in (0, 0, 1)]
    await write(settings, records)
    async with consuming(program, settings) as consumer:
        await consumer.until(2)
        assert await consumer.end() == [line(0), line(1)]


async def test_unknown_fields_and_words_are_passed_on(program: Program, settings: Settings) -> None:
    """A new field and new words do not stop a consumer."""
    words = {"status": "pondered", "verdict": "odd", "novelty": {"a": [1]}, "channel": "pigeon"}
    await write(settings, [status(settings, 0, **words), status(settings, 1)])
    async with consuming(program, settings) as consumer:
        await consumer.until(2)
        new = line(0).replace("sent\tadvanced", "pondered\todd")
        assert sorted(await consumer.end()) == sorted([new, line(1)])


@with_librdkafka
async def test_a_gap_is_reported(program: Program, settings: Settings) -> None:
    """If retention deleted unread records, the consumer reports it and does not skip them."""
    one = status(settings, 0)
    await write(settings, [one] * 2)
    async with consuming(program, settings) as consumer:
        await consumer.until(1)
        await consumer.end()
    await write(settings, [one] * 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_records(
        {TopicPartition(one.topic, one.partition): RecordsToDelete(before_offset=3)}
    )
    await admin.close()

    group = f"{settings.namespace}.g"
    error = await complaint(program, "--group", group, settings.kafka, settings.namespace)
    assert error.startswith("statuses: the group")
    assert "was deleted; move its offsets by hand to accept the gap" in error


async def test_an_error_is_one_sentence(program: Program, settings: Settings) -> None:
    """No broker, no topic: the sentence has the problem and the place."""
    given = ("--group", f"{settings.namespace}.g")
    unused = f"127.0.0.1:{free_port(0)}"
    assert unused in await complaint(program, *given, unused, settings.namespace)

    error = await complaint(program, *given, settings.kafka, "nowhere")
    assert error.startswith("statuses: ")
    assert "topic nowhere.statuses" in error


@pytest.mark.parametrize("value", [b"no JSON", b"[]", b"{}", None, b"no id"])
async def test_an_invalid_status_is_reported(
    program: Program, settings: Settings, value: bytes | None
) -> None:
    """The consumer ends with the record's coordinates, and reads it again after a restart."""
    good = status(settings, 0)._replace(partition=1)
    bad = good._replace(headers=()) if value == b"no id" else good._replace(value=value)
    await write(settings, [good, bad])
    given = ("--group", f"{settings.namespace}.g", settings.kafka, settings.namespace)
    for _ in range(2):
        code, _, error = await run(*program.command, *given)
        assert code == 1
        assert f"{settings.topics.statuses}[1] offset 1 is not a status" in error


async def test_the_table_has_the_last_state_of_each_message(settings: Settings) -> None:
    """Later states replace earlier ones, and a deleted state is unknown."""
    states: list[dict[str, object] | None] = [
        {"version": 1, "status": "sent", "attempts": {"viber": {}}},
        {"version": 1, "status": "delivered", "attempts": {"viber": {}, "sms": {}}},
        None,
    ]
    written = {keyed(1): states[:1], keyed(2): states[:2], keyed(3): states, keyed(4): []}
    await write(
        settings,
        [
            Record(
                settings.topics.messages,
                partition_of(key, settings.partitions),
                key.encode(),
                encode(state) if state else None,
            )
            for key, given in written.items()
            for state in given
        ],
    )

    table = (sys.executable, str(HOME / "table.py"))
    code, output, _ = await run(*table, settings.kafka, settings.namespace, *written)

    ends = ("sent by viber", "delivered by sms, viber", "not known", "not known")
    assert (code, output.splitlines()) == (
        0,
        [f"{k}\t{e}" for k, e in zip(written, ends, strict=True)],
    )

    code, _, error = await run(*table, settings.kafka, "nowhere", keyed(1))
    assert code == 1
    assert "topic nowhere.messages" in error
