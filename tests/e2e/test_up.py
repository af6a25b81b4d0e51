"""`bluetick up`: from an empty machine to records that an independent client reads."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_kafka.broker import free_port
from providers import NAMES
from schemas.processor_list import PROCESSORS
from schemas.topics import Topics, partition_of
from service.settings import Settings
from service.version import __version__
from tests.broker.reading import Read, caught_up, read
from tests.e2e.commands import command, left_behind

ID = "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11"
KEY = f"smsmanager/-/{ID}"


def report(result: str, timestamp: int) -> dict[str, Any]:
    """One delivery report, as SmsManager's documents show it."""
    return {
        "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
        "message_id": ID,
        "gateway": "sms",
        "timestamp": timestamp,
        "payload": {"campaign_id": "winter-sale"},
        "type": "outgoing",
        "to": {"phone_number": "420777123456"},
        "result": result,
        "result_info": "[0] Delivered" if result == "delivered" else "Sent",
        "sms": {
            "gateway": "high",
            "sender": "shop",
            "country": 230,
            "operator": 2,
            "price_czk": 0.89,
            "price_eur": 0.036,
            "count": 1,
        },
    }


REPLY = {
    "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
    "message_id": ID,
    "payload": {"campaign_id": "winter-sale"},
    "gateway": "sms",
    "timestamp": 1700000100,
    "type": "incoming",
    "sender": "420777123456",
    "recipient": "420777654321",
    "body": "Thank you!",
}

BILLING = {
    "sender": "shop",
    "mcc": "230",
    "mnc": "02",
    "parts": 1,
    "prices": {"CZK": "0.89", "EUR": "0.036"},
}


@pytest.mark.timeout(240)
async def test_up_takes_webhooks_to_records_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A real Kafka, every service, four webhooks, the resulting records, then Ctrl-C."""
    port, kafka_port = free_port(0), free_port(0)
    arguments = ("up", "--port", str(port), "--kafka-port", str(kafka_port))
    async with command(*arguments, "--data", str(tmp_path), BLUETICK_PARTITIONS="2") as up:
        await up.until("Ctrl-C stops everything.")
        kafka = f"127.0.0.1:{kafka_port}"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200
            # Of each service, on its own health address.
            for page in ("health/ready", "metrics"):
                named = set(re.findall(rf"http://127\.0\.0\.1:(?!{port})\d+/{page}", up.output))
                # ingest, the processors and the console
                assert len(named) == 2 + len(PROCESSORS)
                for url in named:
                    assert (await client.get(url)).status_code == 200, url
            for body in (
                [report("delivered", 1700000060)],
                [report("delivered", 1700000060)],
                [report("sent", 1700000000), {"type": "outgoing"}],
                [REPLY],
            ):
                answer = await client.post("/webhooks/smsmanager", json=body)
                assert (answer.status_code, answer.content) == (200, b"")
                # One after the other: the next is sent when this one is processed.
                await caught_up(kafka, Topics(providers=NAMES))
        records = {
            name: await read(kafka, f"bluetick.{name}")
            for name in ("statuses", "events", "inbound", "messages", "dead-letters")
        }
        assert f"curl -i http://127.0.0.1:{port}/webhooks/smsmanager" in up.output
        up.interrupt()
        assert await up.ended() == 0
    assert "stopped" in up.output
    for name, what in (("ingest", "webhooks"), *((one.name, "health") for one in PROCESSORS)):
        begin = rf" INFO +bluetick: {name} starting: version {re.escape(__version__)}, namespace bl"
        address = rf"uetick, {what} on 127\.0\.0\.1:\d+.*, Kafka at {re.escape(kafka)}$"
        assert re.search(begin + address, up.output, re.MULTILINE), up.output
        assert re.search(rf" INFO +bluetick: {name} stopped: SIGTERM$", up.output, re.MULTILINE)
    assert left_behind(str(tmp_path)) == {}
    _check_statuses(records["statuses"])
    _check_events(records["events"])
    _check_inbound(records["inbound"])
    _check_state(records["messages"])
    _check_dead_letter(records["dead-letters"])


@pytest.mark.long
async def test_a_service_that_dies_is_started_again(settings: Settings) -> None:
    """`up` names the service that ended, and starts it again; the others run on."""
    environment = {
        f"BLUETICK_{name.upper()}": str(getattr(settings, name))
        for name in ("kafka", "namespace", "partitions", "port")
    }
    environment |= {"BLUETICK_SESSION_TIMEOUT": "6", "BLUETICK_INSTALLATION": "me"}
    async with command("up", "--data", str(settings.data), **environment) as up:
        await up.until("Ctrl-C stops everything.")
        for pid in [_pid(settings, "track"), _pid(settings, "normalise")]:
            os.kill(pid, signal.SIGKILL)
        for service in ("track", "normalise"):
            await up.until(f"{service} ended: exit code -9, see its log above; it is started again")
            await up.until(f"{service} is ready again")
        assert _pid(settings, "ingest")
        up.interrupt()
        assert await up.ended() == 0
    [hint] = re.findall(r"^  (BLUETICK_.*) \./bluetick", up.output, re.MULTILINE)
    shown = {one.partition("=")[0] for one in hint.split()}
    assert {"BLUETICK_KAFKA", "BLUETICK_NAMESPACE", "BLUETICK_INSTALLATION"} <= shown
    assert "Traceback" not in up.output
    assert left_behind(settings.namespace) == {}


def _pid(settings: Settings, service: str) -> int:
    """The process of a service of `up`."""
    there = left_behind(settings.namespace)
    [pid] = [pid for pid, line in there.items() if line.endswith(f" {service}")]
    return pid


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_a_kafka_that_dies_ends_all_with_a_sentence(tmp_path: Path) -> None:
    """`up` reports that the Kafka it started has ended, stops the rest, and fails."""
    arguments = ("up", "--port", str(free_port(0)), "--kafka-port", "0", "--data", str(tmp_path))
    async with command(*arguments) as up:
        await up.until("Ctrl-C stops everything.")
        [kafka] = [pid for pid, line in left_behind(str(tmp_path)).items() if "kafka.Kafka" in line]
        os.kill(kafka, signal.SIGKILL)

        assert await up.ended() == 1
    assert "bluetick: Kafka ended" in up.output
    assert "Traceback" not in up.output
    assert left_behind(str(tmp_path)) == {}


FACT = {
    "kind": "status",
    "message_key": KEY,
    "message_id": ID,
    "provider": "smsmanager",
    "account": "-",
    "source": "smsmanager",
    "channel": "sms",
    "gateway": "sms",
    "recipient": "420777123456",
    "direction": "outbound",
    "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
    "payload": {"campaign_id": "winter-sale"},
    "billing": BILLING,
}
DELIVERED_AT, SENT_AT, REPLIED_AT = 1700000060000, 1700000000000, 1700000100000


def _check_statuses(records: list[Read]) -> None:
    first, second = map(_value, records)

    assert first == FACT | {
        "status": "delivered",
        "provider_status": "delivered",
        "occurred_at": DELIVERED_AT,
        "reason": {"code": "0", "text": "Delivered"},
        "verdict": "advanced",
        "message_status": "delivered",
    }
    assert second == FACT | {
        "status": "sent",
        "provider_status": "sent",
        "occurred_at": SENT_AT,
        "reason": {"text": "Sent"},
        "verdict": "late",
        "message_status": "delivered",
    }
    assert {r.partition for r in records} == {partition_of(KEY, 2)}
    assert records[0].headers["ce_type"] == b"bluetick.message.status"
    assert records[0].headers["ce_specversion"] == b"1.0"
    assert records[0].headers["ce_time"] == b"2023-11-14T22:14:20.000Z"
    assert records[0].headers["ce_id"] != records[1].headers["ce_id"]


def _check_events(records: list[Read]) -> None:
    advanced, late, replied = map(_value, records)

    assert {name: advanced[name] for name in ("event", "to", "elapsed_ms")} == {
        "event": "advanced",
        "to": "delivered",
        "elapsed_ms": 0,
    }
    assert "from" not in advanced
    assert (late["event"], late["current"]) == ("late", "delivered")
    assert late["cause"]["status"] == "sent"
    assert (replied["event"], replied["elapsed_ms"]) == ("replied", REPLIED_AT - SENT_AT)
    assert [r.headers["ce_type"].decode() for r in records] == [
        "bluetick.message.advanced",
        "bluetick.message.late",
        "bluetick.message.replied",
    ]


def _check_inbound(records: list[Read]) -> None:
    [record] = records
    reply = _value(record)

    assert record.key == KEY
    assert reply.pop("message_key").startswith("smsmanager/-/")
    assert reply == {
        "kind": "inbound",
        "in_reply_to": KEY,
        "provider": "smsmanager",
        "account": "-",
        "source": "smsmanager",
        "channel": "sms",
        "gateway": "sms",
        "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
        "sender": "420777123456",
        "recipient": "420777654321",
        "content": {"type": "text", "text": "Thank you!"},
        "payload": {"campaign_id": "winter-sale"},
        "occurred_at": REPLIED_AT,
    }


def _check_state(records: list[Read]) -> None:
    state = json.loads(records[-1].value)

    assert {record.key for record in records} == {KEY}
    assert {
        name: state[name]
        for name in ("message_key", "version", "status", "direction", "billing", "replied_at")
    } == {
        "message_key": KEY,
        "version": 3,
        "status": "delivered",
        "direction": "outbound",
        "billing": BILLING,
        "replied_at": REPLIED_AT,
    }
    assert list(state["attempts"]) == ["sms"]
    facts = state["attempts"]["sms"]["facts"]
    assert {name: fact["occurred_at"] for name, fact in facts.items()} == {
        "delivered": DELIVERED_AT,
        "sent": SENT_AT,
    }


def _check_dead_letter(records: list[Read]) -> None:
    [record] = records

    assert json.loads(record.value) == {"type": "outgoing"}
    assert record.headers["dead-letter-code"] == b"missing_field"
    assert record.headers["dead-letter-pointer"] == b"/1"
    assert record.headers["__streams.errors.topic"] == b"bluetick.raw.smsmanager"


def _value(record: Read) -> dict[str, Any]:
    """Return the record's value without unpredictable fields; check its coordinates."""
    value: dict[str, Any] = json.loads(record.value)
    raw = value.pop("raw")
    assert raw["topic"] == "bluetick.raw.smsmanager"
    assert set(raw) == {"topic", "partition", "offset", "index"}
    value.pop("received_at", None)
    return value
