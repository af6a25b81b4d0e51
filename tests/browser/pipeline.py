"""A running pipeline with a console, and the messages that the tests look for."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.processes import Service, running
from deploy import topics
from deploy.local_kafka.broker import free_port
from processors.dead_letters import record as letters
from providers.contract import DeadLetter
from schemas.coordinates import Coordinates
from schemas.processor_list import PROCESSORS
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import read
from tests.e2e.commands import run

NUMBER = "421905123456"
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>"
UNDELIVERED = "11111111-aaaa-4bbb-8ccc-000000000001"
ATTACKING = "11111111-aaaa-4bbb-8ccc-000000000002"
WAITING = "11111111-aaaa-4bbb-8ccc-000000000003"
READABLE = "11111111-aaaa-4bbb-8ccc-000000000004"
SLOVAK = {"country": 231, "operator": 1, "sender": "Shop", "price_eur": 0.05, "count": 1}


def report(
    id_: str, gateway: str, result: str, ago: float, info: str = "", **more: Any
) -> dict[str, Any]:
    """Return one report of the provider, `ago` seconds old."""
    return {
        "request_id": f"r-{id_}",
        "message_id": id_,
        "gateway": gateway,
        "timestamp": int(time.time() - ago),
        "type": "outgoing",
        "to": {"phone_number": NUMBER},
        "result": result,
        "result_info": info or result,
        **more,
    }


def body(*reports: dict[str, Any]) -> bytes:
    return json.dumps(reports, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Pipeline:
    """The addresses of a pipeline, and the body behind the message that was not delivered."""

    settings: Settings
    console: str
    failed_body: bytes

    async def send(self, *bodies: bytes, provider: str = "smsmanager") -> None:
        """Post bodies to ingest, as the provider would."""
        async with httpx.AsyncClient() as client:
            for one in bodies:
                url = f"http://127.0.0.1:{self.settings.port}/webhooks/{provider}"
                answer = await client.post(url, content=one)
                assert answer.status_code == 200


@asynccontextmanager
async def pipeline(kafka: str, data: Path) -> AsyncIterator[Pipeline]:
    """Run ingest, the processors and the console, and let them process some messages."""
    settings = _settings(kafka, data)
    await topics.apply(settings)
    ports = {"ingest": settings.ingest_metrics_port, "console": settings.console_health_port}
    ports |= {one.name: settings.health_port(one.name) for one in PROCESSORS}
    services = [Service(name, port) for name, port in ports.items()]
    async with running(settings, services, lambda _name, _line: None):
        why = "[27] Absent subscriber"
        failed = body(report(UNDELIVERED, "sms", "undelivered", 60, why, sms=SLOVAK))
        made = Pipeline(settings, f"http://127.0.0.1:{settings.console_port}", failed)
        await made.send(*_bodies(), failed)
        await made.send(*map(_whapi, ("sent", "delivered"), (100, 97)), provider="whapi")
        await _simulate(settings)
        await _letter_of_an_older_version(settings)
        yield made


def _settings(kafka: str, data: Path) -> Settings:
    ports = ("port", "ingest_metrics_port", "console_port", "console_health_port")
    given: dict[str, Any] = {
        name: free_port(0) for name in (*ports, *(one.port_setting for one in PROCESSORS))
    }
    return Settings(
        kafka=kafka, namespace="browser", partitions=2, data=data, session_timeout=6, **given
    )


def _bodies() -> Sequence[bytes]:
    return (
        body(report(UNDELIVERED, "viber", "sent", 200)),
        body(report(UNDELIVERED, "viber", "undelivered", 150, "[1] Unknown user")),
        body(report(UNDELIVERED, "sms", "sent", 120)),
        body(report(ATTACKING, "sms", "failed", 90, f"[9] {HOSTILE}", payload={HOSTILE: HOSTILE})),
        body(report(ATTACKING, "sms", HOSTILE[:30], 80)),
        body(report(WAITING, "sms", "sent", 30, sms=SLOVAK)),
        body({**report(WAITING, "sms", "sent", 30), "result": None, HOSTILE: HOSTILE}),
        body(report(READABLE, "sms", "sent", 80, sms=SLOVAK)),
        body(report(READABLE, "sms", "delivered", 20, sms=SLOVAK)),
    )


def _whapi(status: str, ago: float) -> bytes:
    """Return a report of the other provider, which delivered within 3 s."""
    reported = {
        "id": "PsnQ6vYJ_MhPqaqRDxtO.g-wMoOl5sS",
        "code": 3,
        "status": status,
        "recipient_id": f"{NUMBER}@s.whatsapp.net",
        "timestamp": str(int(time.time() - ago)),
    }
    event = {"type": "statuses", "event": "post"}
    return json.dumps({"statuses": [reported], "event": event, "channel_id": "TEST-1"}).encode()


async def _simulate(settings: Settings) -> None:
    url = f"http://127.0.0.1:{settings.port}"
    options = ("--messages", "60", "--malformed", "0.05", "--seed", "20", "--url", url)
    code, output = await run("send", "all", *options)
    assert code == 0, output


async def _letter_of_an_older_version(settings: Settings) -> None:
    """Write the dead letter that an older parser made of a body that the present one can read."""
    topic = settings.topics.raw("smsmanager")
    raw = next(one for one in await read(settings.kafka, topic) if READABLE in one.value.decode())
    letter = DeadLetter(
        code="wrong_type",
        reason="an older version could not read it",
        value=raw.value,
        pointer="/0",
    )
    at = Coordinates(raw.topic, raw.partition, raw.offset)
    headers = letters.headers(letter, at, raw.timestamp, ())
    dead = settings.topics.dead_letters
    await write(settings, [Record(dead, raw.partition, None, raw.value, headers)])
