"""`bluetick spool` as a person uses it: what is there, off to Kafka, or out into files."""

import base64
import hashlib
import json
import secrets
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy import topics
from deploy.local_kafka.broker import free_port
from ingest.spool import slots
from ingest.spool.database import FILE, SpoolFile, look
from ingest.spool.slots import Place
from schemas.webhook import RawWebhook
from service.kafka.admin import administering
from service.settings import Settings
from tests.broker.reading import read
from tests.e2e.commands import command, run

_BODIES = [b"", bytes(range(256)), secrets.token_bytes(50_000)]


def _fill(spool: Path, bodies: list[bytes]) -> Place:
    """A place of the spool with these bodies, still taken."""
    place = slots.take(spool)
    file = SpoolFile(place.directory)
    file.add(
        RawWebhook(
            id=secrets.token_hex(16),
            source="whapi",
            provider="whapi",
            body=body,
            received_at=1_700_000_000_000 + number,
        )
        for number, body in enumerate(bodies)
    )
    file.close()
    return place


def _named(settings: Settings, spool: Path) -> dict[str, str]:
    return {
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PARTITIONS": str(settings.partitions),
        "BLUETICK_SPOOL": str(spool),
        "BLUETICK_PORT": str(settings.port),  # the default may be somebody else's
    }


async def test_what_nobody_holds_is_drained(settings: Settings, tmp_path: Path) -> None:
    """`drain` sends what is in free places and leaves alone those in use; `status` tells both."""
    free, used = _fill(tmp_path, _BODIES), _fill(tmp_path, [b"theirs"])
    free.release()
    named = _named(settings, tmp_path)

    code, output = await run("spool", "status", **named)
    assert code == 0
    lines = [line.split() for line in output.splitlines()[2:]]
    assert [line[:4] for line in lines] == [["0", "no", "whapi", "3"], ["1", "yes", "whapi", "1"]]

    code, output = await run("spool", "drain", **named)
    assert (code, "3 bodies sent" in output, "drained by their ingest: 1" in output) == (
        0,
        True,
        True,
    ), output
    records = await read(settings.kafka, settings.topics.raw("whapi"))
    assert sorted(record.value for record in records) == sorted(_BODIES)
    assert {record.timestamp for record in records} == {1_700_000_000_000 + n for n in range(3)}
    assert look(used.directory / "spool.db")["whapi"].bodies == 1
    used.release()


async def test_a_place_that_kafka_refuses_holds_up_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    """`drain` goes on with the other places, keeps what Kafka refuses, and says so at the end."""
    await topics.apply(settings)
    async with administering(settings) as admin:
        small = {"max.message.bytes": "10000"}
        named = settings.topics.raw("whapi")
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, named, small)])
    refused, good = secrets.token_bytes(20_000), [b"beside it", b"behind it", b"further on"]
    left = [_fill(tmp_path, each) for each in ([refused], [good[0], refused, good[1]], good[2:])]
    for place in left:
        place.release()
    code, output = await run("spool", "drain", **_named(settings, tmp_path))
    records = await read(settings.kafka, settings.topics.raw("whapi"))
    assert sorted(record.value for record in records) == sorted(good)
    assert [sum(one.bodies for one in look(_file(place)).values()) for place in left] == [1, 1, 0]
    assert (code, "3 bodies sent" in output, "Traceback" in output) == (1, True, False), output
    last = output.rstrip().splitlines()[-1]
    assert last.startswith(f"bluetick: some bodies of {tmp_path} are not on Kafka, in slot 0, 1;")


async def test_a_place_that_cannot_be_reached_hides_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    """Its lock is no file: `status`, `export` and `drain` say so, and do the rest."""
    spool, to = tmp_path / "spool", tmp_path / "bodies.jsonl"
    for place in [_fill(spool, [body]) for body in _BODIES]:
        place.release()
    theirs = spool / "1"
    for name in ("lock", FILE):
        (theirs / name).unlink()
        (theirs / name).mkdir()
    named = _named(settings, spool)

    code, output = await run("spool", "status", **named)
    lines = [line.split() for line in output.splitlines()[2:]]
    assert [line[:4] for line in lines] == [
        *(["0", "no", "whapi", "1"], ["1", "?", "-", "cannot"], ["2", "no", "whapi", "1"])
    ]
    assert (code, "cannot be read: Is a directory" in output) == (1, True), output

    code, output = await run("spool", "export", str(to), **named)
    assert (code, len(to.read_bytes().splitlines())) == (1, 2), output
    assert (
        f"bluetick: the export is not complete: {theirs} (Is a directory) cannot be read;" in output
    )

    code, output = await run("spool", "drain", **named)
    records = await read(settings.kafka, settings.topics.raw("whapi"))
    assert sorted(record.value for record in records) == sorted((_BODIES[0], _BODIES[2]))
    assert (code, "2 bodies sent" in output, "Traceback" in output) == (1, True, False), output
    assert f"{theirs}: it cannot be reached: Is a directory;" in output


def _file(place: Place) -> Path:
    return place.directory / FILE


async def test_without_kafka_nothing_is_drained(tmp_path: Path) -> None:
    """`drain` says that Kafka is away, and all stays where it was."""
    place = _fill(tmp_path, _BODIES)
    place.release()
    away = f"127.0.0.1:{free_port(0)}"
    code, output = await run("spool", "drain", BLUETICK_SPOOL=str(tmp_path), BLUETICK_KAFKA=away)
    assert code == 1
    assert output.rstrip().splitlines()[-1].startswith("bluetick: Kafka does not answer")
    assert "Traceback" not in output
    assert look(place.directory / "spool.db")["whapi"].bodies == 3


async def test_ctrl_c_leaves_the_rest(settings: Settings, tmp_path: Path) -> None:
    """Stopped half way, `drain` has lost nothing: what is not on Kafka is still in the spool."""
    bodies = [b"%06d" % number for number in range(30_000)]
    place = _fill(tmp_path, bodies)
    place.release()
    async with command("spool", "drain", **_named(settings, tmp_path)) as draining:
        while not await read(settings.kafka, settings.topics.raw("whapi")):
            pass  # asking Kafka is the waiting
        draining.interrupt()
        assert await draining.ended() in (130, 0), draining.output
    there = {record.value for record in await read(settings.kafka, settings.topics.raw("whapi"))}
    file = SpoolFile(place.directory)
    after = 0
    left = set()
    while rows := file.read(after, 10**6):
        left |= {row.webhook.body for row in rows}
        after = rows[-1].seq
    file.close()
    assert there | left == set(bodies)
    assert "Traceback" not in draining.output


async def test_bodies_are_exported_as_they_came(tmp_path: Path) -> None:
    """As JSON lines and as files: each body whole, with its sum; the spool keeps them."""
    spool = tmp_path / "spool"
    place = _fill(spool, _BODIES)
    lines, files = tmp_path / "out.jsonl", tmp_path / "out"
    for to in (lines, files):
        code, output = await run("spool", "export", str(to), BLUETICK_SPOOL=str(spool))
        assert (code, "3 bodies exported" in output) == (0, True), output
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [base64.b64decode(one["body"]) for one in told] == _BODIES
    assert [one["sha256"] for one in told] == [hashlib.sha256(b).hexdigest() for b in _BODIES]
    assert [file.read_bytes() for file in sorted(files.glob("*.body"))] == _BODIES
    assert lines.stat().st_mode & 0o077 == 0
    assert look(place.directory / "spool.db")["whapi"].bodies == 3
    code, output = await run("spool", "export", str(lines), BLUETICK_SPOOL=str(spool))
    assert (code, "exists already" in output) == (1, True), output
    place.release()


@pytest.mark.parametrize("what", ["status", "drain", "export x.jsonl"])
async def test_without_a_spool_it_says_so(what: str, tmp_path: Path) -> None:
    """One sentence, whether none is set or the directory is not there."""
    code, output = await run("spool", *what.split())
    assert (code, "name its directory with BLUETICK_SPOOL" in output) == (1, True)
    gone = str(tmp_path / "gone")
    code, output = await run("spool", *what.split(), BLUETICK_SPOOL=gone)
    assert (code, "no such directory" in output, "Traceback" in output) == (1, True, False)


async def test_a_spool_that_cannot_be_used_stops_ingest(settings: Settings, tmp_path: Path) -> None:
    """Better no ingest than one that cannot keep its word: the sentence names the directory."""
    (tmp_path / "file").touch()
    code, output = await run("ingest", **_named(settings, tmp_path / "file"))
    assert (code, "Traceback" in output) == (1, False)
    assert f"the spool {tmp_path / 'file'} (BLUETICK_SPOOL) cannot be used" in output
