"""Delivery quality on a real Kafka: the cells equal those of all states, whatever is killed."""

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cli.processes import Service, running
from schemas.codec import decode_quality, encode
from schemas.quality import QualityCell
from schemas.records import MessageState
from schemas.topics import partition_of
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, read, written
from tests.contract import check
from tests.e2e.commands import command
from tests.unit.processors.quality import states

BEGAN = round(time.time() * 1000) - 3_600_000
KILLED_AT = ("after_offsets", "during_commit", "after_commit")


@pytest.mark.timeout(180)
async def test_a_killed_measurer_counts_each_message_once(
    settings: Settings, tmp_path: Path
) -> None:
    """After a kill at several places, with and without its store, the cells are right."""
    versions = states.histories(seed=11, messages=300, began=BEGAN)
    arriving = states.mixed(Random(1), versions)
    part = len(arriving) // len(KILLED_AT)
    for number, point in enumerate(KILLED_AT):
        end = None if point is KILLED_AT[-1] else (number + 1) * part
        await write(settings, _records(settings, arriving[number * part : end]))
        given = _environment(settings, tmp_path / str(number % 2))
        given["BLUETICK_FAILPOINT"] = f"measure.{point}=kill@4"
        async with command("measure", **given) as one:
            assert await one.ended() == -9, one.output
    last = settings.model_copy(update={"data": tmp_path / "0"})
    async with running(last, [_service(last)], _silent):
        await caught_up_with(settings.kafka, settings.topics, "measure")
        before = await _cells(settings)
        # Every state once more, in another order: what was right does not change.
        final = [one[-1] for one in versions]
        await write(settings, _records(settings, final))
        await caught_up_with(settings.kafka, settings.topics, "measure")
        again = await _cells(settings)
        shown = await _shown(settings)

    expected = states.expected(states.contributed(versions))
    assert len(expected) > 100
    assert states.found(before) == expected
    assert again == before
    assert await _kinds(settings) == {"quality-cell", "quality-change", "quality-contribution"}
    messages = sum(one.messages for one in before if one.period == "minute")
    assert [(one["provider"], one["messages"]) for one in shown] == [("smsmanager", messages)]


def _service(settings: Settings) -> Service:
    return Service("measure", settings.health_port("measure"))


def _silent(_: str, __: str) -> None:
    pass


def _environment(settings: Settings, data: Path) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "session_timeout", "measure_health_port")
    given = {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}
    return given | {"BLUETICK_DATA": str(data), "BLUETICK_INSTANCE": "one"}


def _records(settings: Settings, many: list[MessageState]) -> list[Record]:
    return [
        Record(
            settings.topics.messages,
            partition_of(one.message_key, settings.partitions),
            one.message_key.encode(),
            encode(one),
        )
        for one in many
    ]


async def _shown(settings: Settings) -> list[Any]:
    """Return the rows that `bluetick quality` prints, as JSON and as a table."""
    given = _environment(settings, settings.data)
    async with command("quality", "--from", "-1d", **given) as one:
        assert await one.ended() == 0
        assert "provider" in one.output
        assert "CZK" in one.output
    async with command("quality", "--from", "oldest", "--json", **given) as one:
        assert await one.ended() == 0
        found: list[Any] = json.loads(one.output)["rows"]
    return found


async def _kinds(settings: Settings) -> set[str]:
    """Check every record that measure has written; return their kinds."""
    names = settings.topics.outputs("measure")
    records = [one for name in names for one in await read(settings.kafka, name)]
    return check(written(settings, one) for one in records if one.value is not None)


async def _cells(settings: Settings) -> list[QualityCell]:
    """Return the newest cell of each key."""
    newest = {one.key: one.value for one in await read(settings.kafka, settings.topics.quality)}
    return [decode_quality(value) for _, value in sorted(newest.items()) if value is not None]
