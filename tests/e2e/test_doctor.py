"""`bluetick doctor` by the real command line: what is wrong, its exit code, and its table."""

import json
import time
from pathlib import Path

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local_kafka.broker import free_port
from ingest.spool import slots
from ingest.spool.database import SpoolFile
from schemas.webhook import RawWebhook
from service.kafka.admin import administering
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.e2e.commands import run


def _spooled(spool: Path) -> None:
    """Leave one body in a slot that no process uses."""
    place = slots.acquire(spool)
    file = SpoolFile(place.directory)
    file.add([RawWebhook(id="1" * 32, source="whapi", provider="whapi", body=b"x", received_at=1)])
    file.close()
    place.release()


def _named(settings: Settings, spool: Path) -> dict[str, str]:
    return {
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PARTITIONS": str(settings.partitions),
        "BLUETICK_DATA": str(settings.data),
        "BLUETICK_SPOOL": str(spool),
        "COLUMNS": "80",
    }


def _found(output: str) -> dict[tuple[str, str], str]:
    """Return the levels by part and code."""
    return {(one["part"], one["code"]): one["level"] for one in json.loads(output)["findings"]}


async def test_what_is_wrong_is_found(settings: Settings, tmp_path: Path) -> None:
    """A changed topic, late records, a silent provider, a left slot: each is found, no more."""
    spool = tmp_path / "spool"
    _spooled(spool)
    raw, statuses = settings.topics.raw("whapi"), settings.topics.statuses
    late = round((time.time() - 1200) * 1000)
    state = json.dumps({"version": 99}).encode()
    # As many webhooks as are usual, in the hour that ended 24 hours ago, and none since.
    usual = settings.topics.raw("smsmanager")
    before = round((time.time() - 24.5 * 3600) * 1000)
    await write(
        settings,
        [
            *(Record(usual, number % 3, None, b"[]", timestamp=before) for number in range(21)),
            Record(raw, 1, None, b"{}", timestamp=late),
            Record(settings.topics.messages, 2, b"k", state),
        ],
    )
    async with administering(settings) as admin:
        changed = {"retention.ms": "86400000", "unclean.leader.election.enable": "true"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, statuses, changed)])

    code, output = await run("doctor", "--json", **_named(settings, spool))

    assert code == 1, output
    page, found = json.loads(output), _found(output)
    assert page["fine"] is False
    assert {key: level for key, level in found.items() if level in ("problem", "warning")} == {
        ("topics", "topic_setting_differs"): "warning",
        ("topics", "topic_loses_records"): "problem",
        ("webhooks", "webhooks_stopped"): "problem",
        ("normalise", "group_without_members"): "problem",
        ("normalise", "group_lagging"): "problem",
        ("track", "group_without_members"): "warning",
        ("measure", "group_without_members"): "problem",
        ("versions", "state_format_newer"): "problem",
        ("spool", "spool_slot_left"): "warning",
        ("spool", "spool_filling"): "problem",  # its body is older than the bound
    }
    assert found["broker", "broker_answers"] == found["clock", "clock_fine"] == "ok"
    assert found["rights", "rights_fine"] == "ok"
    assert found["ingest", "ingest_no_answer"] == "info"
    webhooks = {one["provider"]: one for one in page["facts"]["webhooks"]}
    assert webhooks["smsmanager"]["day_before"] == 21
    assert webhooks["whapi"]["day_before"] == 0
    assert 1200 <= webhooks["whapi"]["age"] < 1800
    assert page["facts"]["normalise"]["places"][4]["lag"] == 1
    remedies = {one["code"]: one["remedy"] for one in page["findings"]}
    assert remedies["spool_slot_left"] == "send them: bluetick spool drain"
    assert int(page["facts"]["broker"]["settings"]["1"]["transaction.max.timeout.ms"]) >= 1


async def test_a_table_for_people(settings: Settings, tmp_path: Path) -> None:
    """It fits 80 columns; with nothing but warnings the exit code is 0."""
    code, output = await run("doctor", **_named(settings, tmp_path / "spool"))
    assert code == 0, output
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    parts = [line.split()[0] for line in lines[2:] if not line.startswith(" ") and line.strip()]
    assert parts == [
        *("broker", "topics", "rights", "webhooks", "normalise", "track", "measure"),
        *("clock", "versions", "ingest", "spool", "disk"),
    ]
    assert "→ start: bluetick track" in output


async def test_without_kafka_the_machine_is_checked(tmp_path: Path) -> None:
    """The broker is a problem, what needs it is skipped, and the spool is looked at."""
    spool = tmp_path / "spool"
    _spooled(spool)
    nowhere = {"BLUETICK_KAFKA": f"127.0.0.1:{free_port(0)}", "BLUETICK_SPOOL": str(spool)}
    code, output = await run("doctor", "--json", **nowhere)
    found = _found(output)
    assert code == 1
    assert found["broker", "part_failed"] == "problem"
    assert found["topics", "part_skipped"] == found["webhooks", "part_skipped"] == "info"
    assert found["spool", "spool_slot_left"] == "warning"
    assert found["versions", "versions"] == "ok"
