"""Hostile bodies among honest ones: the normaliser stays in its group and loses nothing."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from bench.hostile import HOSTILE, Sent, zipped
from cli.processes import Running, Service, running
from processors.normalising import body_outcome, normaliser
from processors.normalising.webhook_to_observations import normalise
from processors.runtime.group_worker import GroupWorker
from schemas.coordinates import Coordinates
from schemas.processor_list import NORMALISE
from schemas.webhook import to_headers
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, read

_MEMBERS_AT_ONCE = 70
_ROUNDS = 2
_MOST_BYTES = 400 * 10**6


def honest(number: int) -> bytes:
    status = {
        "message_id": f"m-{number}",
        "gateway": "sms",
        "timestamp": 1_700_000_000,
        "result": "sent",
    }
    return json.dumps([status]).encode()


def _record(settings: Settings, sent: Sent, number: int) -> Record:
    webhook = sent.received()
    topic = settings.topics.raw(sent.provider)
    return Record(topic, number % settings.partitions, None, sent.body, to_headers(webhook))


async def members(settings: Settings) -> list[str]:
    """Return the ids of the group's members; a member that left and rejoined has a new id."""
    client = AdminClient({"bootstrap.servers": settings.kafka})
    group = settings.topics.group("normalise")
    described = client.describe_consumer_groups([group])[group]
    found = await asyncio.to_thread(described.result)
    return [member.member_id for member in found.members]


def peak(started: Running) -> int:
    """Return the peak memory of its process in bytes (Linux)."""
    lines = Path(f"/proc/{started._process.pid}/status").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return 1024 * int(kilobytes)


@pytest.mark.long
async def test_hostile_bodies_among_honest_ones(settings: Settings) -> None:
    """Every body has a result, nothing is processed twice, and the worker stays in its group."""
    unlimited = settings.model_copy(update={"dead_letter_ratio": 0, "dead_letter_run": 0})
    lines: list[str] = []
    bomb = HOSTILE["1 000 gzip members, 10 MB"]()
    hostile = [make() for make in HOSTILE.values()] * _ROUNDS + [bomb] * _MEMBERS_AT_ONCE
    records: list[Record] = []
    for number, sent in enumerate(hostile):
        records.append(_record(settings, sent, number))
        records.append(_record(settings, Sent("smsmanager", honest(number)), number + 1))
    service = Service("normalise", settings.health_port("normalise"))
    async with running(unlimited, [service], lambda _, line: lines.append(line)) as [started]:
        before = await members(settings)
        for first in range(0, len(records), 20):
            await write(settings, records[first : first + 20])
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        assert await members(settings) == before
        memory = peak(started)
    output = "\n".join(lines)
    assert output.count("assigned 6 partitions") == 1, output
    assert "repeating the round" not in output
    assert "rebalanced" not in output
    assert "internal_error" not in output
    assert memory < _MOST_BYTES

    observed = {one.key for one in await read(settings.kafka, settings.topics.observations)}
    wanted = {f"smsmanager/-/m-{number}" for number in range(len(hostile))}
    assert wanted <= observed
    await _accounted_for(settings)


async def _accounted_for(settings: Settings) -> None:
    """Assert that each raw body has the dead letters of a replay, or is one `too_costly`."""
    kept: dict[Coordinates, Counter[str]] = {}
    for letter in await read(settings.kafka, settings.topics.dead_letters):
        head = {name: value.decode() for name, value in letter.headers.items()}
        origin = (head[f"__streams.errors.{name}"] for name in ("topic", "partition", "offset"))
        topic, partition, offset = origin
        at = Coordinates(topic, int(partition), int(offset))
        kept.setdefault(at, Counter())[head["dead-letter-code"]] += 1
    for topic in settings.topics.raw_topics:
        for record in await read(settings.kafka, topic):
            at = Coordinates(topic, record.partition, record.offset)
            encoding = record.headers.get("content-encoding", b"").decode()
            sent = Sent(settings.topics.provider_of(topic), record.value, encoding)
            expected = Counter(one.code for one in normalise(sent.received(), at).dead_letters)
            assert kept.get(at, Counter()) in (expected, Counter({"too_costly": 1}))


async def test_a_body_over_its_budget_is_set_aside(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured in processor time: a dead letter `too_costly`; a retry has no such bound."""
    monkeypatch.setattr(body_outcome, "_BODY_SECONDS", 0.0)
    body = b"[" + b",".join([honest(1)[1:-1]] * 3) + b"]"
    sent = Sent("smsmanager", zipped(body), "gzip")
    await write(settings, [_record(settings, sent, 0)])
    one, stop = GroupWorker(NORMALISE, settings, normaliser.Normaliser), asyncio.Event()
    working = asyncio.create_task(one.run(stop))
    await caught_up_with(settings.kafka, settings.topics, "normalise")
    stop.set()
    await working
    assert one.problems() == []
    [letter] = await read(settings.kafka, settings.topics.dead_letters)
    assert letter.headers["dead-letter-code"] == b"too_costly"
    assert letter.value == sent.body
    assert await read(settings.kafka, settings.topics.observations) == []
