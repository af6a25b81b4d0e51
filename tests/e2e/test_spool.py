"""`bluetick spool` by the real command line: status, drain and export."""

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
from ingest.spool.slots import Slot
from schemas.webhook import RawWebhook
from service.kafka.admin import administering
from service.settings import Settings
from tests.broker.reading import read
from tests.e2e.commands import command, run

_BODIES = [b"", bytes(range(256)), secrets.token_bytes(50_000)]


def _fill(spool: Path, bodies: list[bytes]) -> Slot:
    """A slot of the spool with these bodies, still in use."""
    place = slots.acquire(spool)
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
        "BLUETICK_PORT": str(settings.port),  # the default port may be in use
        # Else a drain gives up a slot when a busy machine delays Kafka for 1.5 s.
        "BLUETICK_PUBLISH_DEADLINE": "20",
    }


async def test_free_slots_are_drained(settings: Settings, tmp_path: Path) -> None:
    """`drain` sends the bodies of free slots and leaves slots in use; `status` shows both."""
    free, used = _fill(tmp_path, _BODIES), _fill(tmp_path, [b"theirs"])
    free.release()
    named = _named(settings, tmp_path)

    code, output = await run("spool", "status", **named)
    assert code == 0
    lines = [line.split() for line in output.splitlines()[3:]]
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


async def test_a_slot_that_kafka_refuses_does_not_block_others(
    settings: Settings, tmp_path: Path
) -> None:
    """`drain` continues with the other slots, keeps refused bodies, and reports them at the end."""
    await topics.apply(settings)
    async with administering(settings) as admin:
        small = {"max.message.bytes": "10000"}
        named = settings.topics.raw("whapi")
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, named, small)])
    refused, good = secrets.token_bytes(20_000), [b"before it", b"behind it", b"further on"]
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


async def test_an_unreadable_slot_hides_no_other(settings: Settings, tmp_path: Path) -> None:
    """Its lock is not a file: `status`, `export` and `drain` report it, and process the others."""
    spool, to = tmp_path / "spool", tmp_path / "bodies.jsonl"
    for place in [_fill(spool, [body]) for body in _BODIES]:
        place.release()
    theirs = spool / "1"
    for name in ("lock", FILE):
        (theirs / name).unlink()
        (theirs / name).mkdir()
    named = _named(settings, spool)

    code, output = await run("spool", "status", **named)
    lines = [line.split() for line in output.splitlines()[3:]]
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


def _file(place: Slot) -> Path:
    return place.directory / FILE


async def test_without_kafka_nothing_is_drained(tmp_path: Path) -> None:
    """`drain` reports that Kafka does not answer, and the bodies remain."""
    place = _fill(tmp_path, _BODIES)
    place.release()
    nowhere = f"127.0.0.1:{free_port(0)}"
    code, output = await run("spool", "drain", BLUETICK_SPOOL=str(tmp_path), BLUETICK_KAFKA=nowhere)
    assert code == 1
    assert output.rstrip().splitlines()[-1].startswith("bluetick: Kafka does not answer")
    assert "Traceback" not in output
    assert look(place.directory / "spool.db")["whapi"].bodies == 3


async def test_ctrl_c_leaves_the_rest(settings: Settings, tmp_path: Path) -> None:
    """An interrupted `drain` loses nothing: other bodies are still in the spool."""
    bodies = [b"%06d" % number for number in range(30_000)]
    place = _fill(tmp_path, bodies)
    place.release()
    async with command("spool", "drain", **_named(settings, tmp_path)) as draining:
        while not await read(settings.kafka, settings.topics.raw("whapi")):
            pass  # each read waits for Kafka
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
    """As JSON lines and as files: each complete body with its sha256; the spool keeps them."""
    spool = tmp_path / "spool"
    place = _fill(spool, _BODIES)
    lines, files = tmp_path / "out.jsonl", tmp_path / "out"
    for to in (lines, files):
        code, output = await run("spool", "export", str(to), BLUETICK_SPOOL=str(spool))
        assert (code, "3 bodies exported" in output) == (0, True), output
    exported = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [base64.b64decode(one["body"]) for one in exported] == _BODIES
    assert [one["sha256"] for one in exported] == [hashlib.sha256(b).hexdigest() for b in _BODIES]
    assert [file.read_bytes() for file in sorted(files.glob("*.body"))] == _BODIES
    assert lines.stat().st_mode & 0o077 == 0
    assert look(place.directory / "spool.db")["whapi"].bodies == 3
    code, output = await run("spool", "export", str(lines), BLUETICK_SPOOL=str(spool))
    assert (code, "exists already" in output) == (1, True), output
    place.release()


@pytest.mark.parametrize("what", ["status", "drain", "export x.jsonl"])
async def test_without_a_spool_it_says_so(what: str, tmp_path: Path) -> None:
    """One sentence, for an unset setting and for a missing directory."""
    code, output = await run("spool", *what.split())
    assert (code, "name its directory with BLUETICK_SPOOL" in output) == (1, True)
    gone = str(tmp_path / "gone")
    code, output = await run("spool", *what.split(), BLUETICK_SPOOL=gone)
    assert (code, "no such directory" in output, "Traceback" in output) == (1, True, False)


async def test_a_spool_that_cannot_be_used_stops_ingest(settings: Settings, tmp_path: Path) -> None:
    """Ingest refuses to start, and the sentence names the directory."""
    (tmp_path / "file").touch()
    code, output = await run("ingest", **_named(settings, tmp_path / "file"))
    assert (code, "Traceback" in output) == (1, False)
    assert f"the spool {tmp_path / 'file'} (BLUETICK_SPOOL) cannot be used" in output
