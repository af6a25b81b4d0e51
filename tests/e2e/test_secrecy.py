"""Tokens, phone numbers and texts must not appear in any output of the services, also at DEBUG.

The services run as in production, with valid and invalid webhooks, with Kafka and without it. Then
the test searches all logs, answers and pages for words that only the webhooks contained.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from deploy.local_kafka.broker import LocalKafka, free_port
from service.log_events import COMMON, EVENTS, FIELDS
from tests.e2e.canaries import Canaries
from tests.e2e.commands import Command, command, run

_SECONDS = 60

# One source for each location of a secret in a request.
_SOURCES = """
[sources.header]
provider = "whapi"
auth = "header"
header = "X-Token"
secrets = ["env:CANARY_HEADER"]

[sources.bearer]
provider = "whapi"
auth = "bearer"
secrets = ["env:CANARY_BEARER"]

[sources.basic]
provider = "smsmanager"
auth = "basic"
user = "us"
secrets = ["env:CANARY_BASIC"]

[sources.path]
provider = "smsmanager"
auth = "path"
secrets = ["env:CANARY_PATH"]

[sources.signed]
provider = "smsmanager"
auth = "hmac"
secrets = ["env:CANARY_HMAC"]
"""


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """A broker for this module alone: it is killed during the test."""
    async with LocalKafka(tmp_path_factory.mktemp("own")) as kafka:
        yield kafka


@pytest.mark.long
async def test_no_output_contains_parts_of_a_webhook(
    own: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """Logs, metrics, health, answers and reports of all services contain none of the words."""
    canaries = Canaries()
    (tmp_path / "sources.toml").write_text(_SOURCES)
    ports = {name: free_port(0) for name in ("ingest", "ingest-metrics", "normalise", "track")}
    environment = {
        "BLUETICK_KAFKA": own.bootstrap,
        "BLUETICK_NAMESPACE": namespace,
        "BLUETICK_PARTITIONS": "1",
        "BLUETICK_LOG_LEVEL": "DEBUG",
        "BLUETICK_LOG_FORMAT": "json",
        "BLUETICK_SESSION_TIMEOUT": "6",
        "BLUETICK_DATA": str(tmp_path / "data"),
        "BLUETICK_SPOOL": str(tmp_path / "spool"),
        "BLUETICK_SOURCES": str(tmp_path / "sources.toml"),
        "BLUETICK_PORT": str(ports["ingest"]),
        "BLUETICK_INGEST_METRICS_PORT": str(ports["ingest-metrics"]),
        "BLUETICK_NORMALISE_HEALTH_PORT": str(ports["normalise"]),
        "BLUETICK_TRACK_HEALTH_PORT": str(ports["track"]),
        "PYTHONASYNCIODEBUG": "1",
    } | {
        f"CANARY_{kind.upper()}": canaries.word(f"{kind} secret")
        for kind in ("header", "bearer", "basic", "path", "hmac")
    }
    sinks: dict[str, str] = {}
    assert (await run("topics", "apply", **environment))[0] == 0
    async with AsyncExitStack() as stack, httpx.AsyncClient(timeout=_SECONDS) as client:
        services = {}
        for name in ("ingest", "normalise", "track"):
            service = await stack.enter_async_context(command(name, **environment))
            services[name] = service, asyncio.create_task(service.ended())
        for name in services:
            await _until(client, f"http://127.0.0.1:{ports[name]}/health/ready", '"ready":true')

        url = f"http://127.0.0.1:{ports['ingest']}/webhooks"
        codes = await _post_all(client, url, canaries, sinks)
        assert codes.count(200) == 8, codes
        assert {400, 401, 404, 413} <= set(codes), codes
        for provider in ("smsmanager", "whapi"):
            inbound = f'bluetick_outcomes_total{{outcome="inbound",provider="{provider}"}} 1.0'
            await _until(client, f"http://127.0.0.1:{ports['track']}/metrics", inbound)
        own.kill()
        assert (await _post_all(client, url, canaries, sinks)).count(200) == 8

        for name, port in ports.items():
            for page in ("health/ready", "metrics"):
                answer = await client.get(f"http://127.0.0.1:{port}/{page}")
                sinks[f"{page} of {name}"] = answer.text
        _, sinks["spool status"] = await run("spool", "status", **environment)
        _, sinks["sources check"] = await run("sources", "check", **environment)
        await _end(services, sinks)

    assert not canaries.found(sinks)
    for name in ("ingest", "normalise", "track"):
        _judge_log(name, sinks[f"what {name} printed"], namespace)
    assert 'cause="unproven"' in sinks["metrics of ingest-metrics"]
    assert "8" in sinks["spool status"]


def _judge_log(service: str, printed: str, namespace: str) -> None:
    """Every line is JSON with an event of the list, the sentence and the process."""
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {"service_starting", "service_stopped"} <= {line["event"] for line in lines} <= {*EVENTS}
    assert {(line["service"], line["namespace"]) for line in lines} == {(service, namespace)}
    assert {*COMMON} - {"instance"} <= set.intersection(*(set(line) for line in lines))
    assert {*COMMON, *FIELDS} >= set.union(*(set(line) for line in lines))
    if service == "track":
        ready = next(line for line in lines if line["event"] == "partition_ready")
        assert (ready["topic"], ready["partition"]) == (f"{namespace}.observations", 0)
        assert "kafka_client" in {line["event"] for line in lines}, "the broker was killed"


async def _until(client: httpx.AsyncClient, url: str, text: str) -> None:
    """Wait until a page contains the text."""
    async with asyncio.timeout(_SECONDS):
        while True:
            try:
                if text in (await client.get(url)).text:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            await asyncio.sleep(0.1)


async def _end(
    services: dict[str, tuple[Command, asyncio.Task[int]]], sinks: dict[str, str]
) -> None:
    for service, _ in services.values():
        service.interrupt()
    for name, (service, ended) in services.items():
        await ended
        sinks[f"what {name} printed"] = service.output


async def _post_all(
    client: httpx.AsyncClient, url: str, canaries: Canaries, sinks: dict[str, str]
) -> list[int]:
    """Send valid webhooks by all sources, and invalid ones of all kinds; return the statuses."""
    codes = []
    for number, (path, headers, body) in enumerate(_requests(canaries)):
        answer = await client.post(url + path, headers=headers, content=body)
        sinks[f"answer {number}"] = f"{answer.headers} {answer.text}"
        codes.append(answer.status_code)
    head = f"POST /webhooks/{canaries.word('bad head')} HTTP/1.1\r\nhost : x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(head.encode())
    sinks["answer to a bad head"] = answer_text = (await reader.read()).decode()
    writer.close()
    return [*codes, int(answer_text.split()[1])]


def _requests(canaries: Canaries) -> list[tuple[str, dict[str, str], bytes]]:
    """Return path, headers and body, each with words of its own."""
    word, number = canaries.word, canaries.number
    header = {"x-token": word("header secret")}
    bearer = {"authorization": f"Bearer {word('bearer secret')}"}
    basic = {
        "authorization": "Basic " + base64.b64encode(f"us:{word('basic secret')}".encode()).decode()
    }
    status = _json([_sms(canaries, "r-1", result="delivered")])
    reply = _json(
        [_sms(canaries, "r-2", type="incoming", body=word("text"), sender=number("sender"))]
    )
    key = word("hmac secret").encode()
    signed = {"x-request-signature": hmac.new(key, status, hashlib.sha256).hexdigest()}
    message = _json(
        {
            "messages": [
                {
                    "id": "m-1",
                    "type": "text",
                    "chat_id": f"{number('chat')}@s.whatsapp.net",
                    "from": number("from"),
                    "from_me": False,
                    "from_name": word("name"),
                    "timestamp": 1_760_000_000,
                    "text": {"body": word("message text")},
                }
            ],
            "event": {"type": "messages", "event": "post"},
            "channel_id": "TITMSE-S1MUL",
        }
    )
    return [
        ("/header", header, message),
        (f"/bearer?q={word('query')}", bearer, b'{"a": "' + word("half a body").encode()),
        ("/basic", basic, status),
        ("/basic", basic, reply),
        (f"/path/{word('path secret')}", {}, _json([_sms(canaries, "r-3", result=word("status"))])),
        ("/signed", signed, status),
        ("/header", header, _json({"statuses": [{"id": 7, "status": word("wrong type")}]})),
        ("/header", header, _json({"messages": word("no list"), "channel_id": number("channel")})),
        ("/header", {"x-token": word("wrong token")}, message),
        ("/header", {"authorization": word("wrong header")}, message),
        (f"/path/{word('wrong segment')}", {}, message),
        ("/signed", {"x-request-signature": word("wrong signature")}, status),
        (f"/{word('unknown source')}", {}, message),
        ("/header", header, word("large").encode() * 40_000),
    ]


def _sms(canaries: Canaries, id_: str, **others: str) -> dict[str, object]:
    return {
        "request_id": "r",
        "message_id": id_,
        "gateway": "sms",
        "type": "outgoing",
        "timestamp": 1_760_000_000,
        "to": {"phone_number": canaries.number("recipient")},
        "payload": {"own": canaries.word("payload")},
        "result_info": canaries.word("result info"),
        **others,
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
