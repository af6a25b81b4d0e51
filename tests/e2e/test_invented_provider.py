"""A provider is one folder and one line: a copy of the source runs an invented one.

Nothing else is changed: the real command line parses, sends, receives, normalises and tracks it.
"""

import asyncio
import hashlib
import hmac
import json
import shutil
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_kafka.broker import free_port
from providers import NAMES
from schemas.topics import Topics
from tests import HOME
from tests.broker.reading import Read, caught_up, read
from tests.e2e.commands import started

_SECRET = "correct-horse-battery"
_SERVICES = ("ingest", "normalise", "track")
_PARTS = ("cli", "console", "deploy", "ingest", "processors", "providers", "schemas", "service")
_SENT = ("--messages", "60", "--seed", "7", "--duplicates", "0.2", "--malformed", "0.2")
_READY_SECONDS = 60

_SOURCES = """
[sources.invented]
provider = "invented"
auth = "none"

[sources.signed]
provider = "invented"
auth = "hmac"
secrets = ["env:INVENTED_SECRET"]
"""

# The expected results of the same simulation.
_TRUTH = """
import json
from cli.simulator.simulate import simulate
truth = simulate(
    messages=60, seed=7, duplicates=0.2, malformed=0.2, base_time_ms=0, sources=["invented"]
).truth
print(json.dumps({
    "facts": sorted([key, *fact] for key, life in truth.lifecycles.items() for fact in life.facts),
    "final": {key: life.status for key, life in truth.lifecycles.items()},
    "dead_letters": truth.dead_letters,
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with the invented provider: its folder, and its line in the one list."""
    home = tmp_path_factory.mktemp("source")
    for part in _PARTS:
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOME / part, home / part, ignore=unwanted)
    shutil.copy(HOME / "bluetick.py", home)
    shutil.copytree(HOME / "tests/e2e/invented_provider", home / "providers/invented")
    listed = home / "providers/__init__.py"
    text = listed.read_text()
    assert text.count("NAMES = (\n") == 1
    listed.write_text(text.replace("NAMES = (\n", 'NAMES = (\n    "invented",\n'))
    return home


async def _run(tree: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    line = (sys.executable, str(tree / "bluetick.py"), *arguments)
    async with started(*line, **environment) as running:
        return await running.ended(), running.output


async def _truth(tree: Path) -> dict[str, Any]:
    line = (sys.executable, "-c", _TRUTH)
    async with started(*line, PYTHONPATH=str(tree), PYTHONSAFEPATH="1") as running:
        assert await running.ended() == 0, running.output
        truth: dict[str, Any] = json.loads(running.output)
        return truth


@asynccontextmanager
async def _services(tree: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    """Ingest, normalise and track of the copy, ready."""
    async with AsyncExitStack() as stack, httpx.AsyncClient() as client:
        for name in _SERVICES:
            line = (sys.executable, str(tree / "bluetick.py"), name)
            service = await stack.enter_async_context(started(*line, **environment))
            reading = asyncio.create_task(service.ended())
            stack.callback(reading.cancel)
        for port in ("INGEST_METRICS", "NORMALISE_HEALTH", "TRACK_HEALTH"):
            await _ready(client, environment[f"BLUETICK_{port}_PORT"])
        yield


async def _ready(client: httpx.AsyncClient, port: str) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
            except httpx.TransportError:
                answer = httpx.Response(503)
            if answer.is_success:
                return
            await asyncio.sleep(0.1)


async def test_its_words_are_parsed_without_a_broker(tree: Path) -> None:
    """`parse` names it, reads its documented webhook, and counts what carries no status."""
    example = json.loads((tree / "providers/invented/examples/landed.json").read_text())
    body = tree / "body.json"
    body.write_text(json.dumps(example["body"]))
    code, output = await _run(tree, "parse", "invented", str(body))
    status, ignored = map(json.loads, output.splitlines())
    expected = example["expect"]["observations"][0]
    assert (code, {name: status[name] for name in expected}) == (0, expected)
    assert ignored == {"ignored": example["expect"]["ignored"]}
    for command in ("parse", "send"):
        _, output = await _run(tree, command, "--help")
        assert "invented" in output


async def test_its_webhooks_are_received_normalised_and_tracked(
    tree: Path, kafka: str, namespace: str, tmp_path: Path
) -> None:
    """Topics, ingest with its proof, normalise, track; simulated messages end as planned."""
    (tmp_path / "sources.toml").write_text(_SOURCES)
    ports = {
        f"BLUETICK_{name}": str(free_port(0))
        for name in ("PORT", "INGEST_METRICS_PORT", "NORMALISE_HEALTH_PORT", "TRACK_HEALTH_PORT")
    }
    environment = {
        "BLUETICK_KAFKA": kafka,
        "BLUETICK_NAMESPACE": namespace,
        "BLUETICK_PARTITIONS": "2",
        "BLUETICK_SESSION_TIMEOUT": "6",
        "BLUETICK_DEAD_LETTER_RATIO": "0",
        "BLUETICK_DATA": str(tmp_path / "data"),
        "BLUETICK_SOURCES": str(tmp_path / "sources.toml"),
        "INVENTED_SECRET": _SECRET,
        **ports,
    }
    topics = Topics(namespace, providers=("invented", *NAMES))
    code, output = await _run(tree, "topics", "apply", **environment)
    assert (code, f"{namespace}.raw.invented" in output) == (0, True), output
    url = f"http://127.0.0.1:{ports['BLUETICK_PORT']}"
    async with _services(tree, environment):
        code, output = await _run(tree, "send", "invented", "--url", url, *_SENT, **environment)
        assert code == 0, output
        await _check_proof(url)
        await caught_up(kafka, topics)
        statuses = await read(kafka, topics.statuses)
        messages = await read(kafka, topics.messages)
        letters = await read(kafka, topics.dead_letters)
    truth = await _truth(tree)
    assert _facts(statuses) == sorted([*truth["facts"], _SIGNED], key=str)
    final = {one.key: json.loads(one.value).get("status") for one in messages if one.value}
    assert final == {**truth["final"], "invented/attic/signed": "delivered"}
    assert _codes(letters) == truth["dead_letters"]


_SIGNED = ["invented/attic/signed", "pigeon", None, "delivered"]
_BODY = b'[{"flight": "signed", "loft": "attic", "state": "landed", "at": 1700000000}]'


async def _check_proof(url: str) -> None:
    """Its own header and encoding prove a body; ingest accepts its webhooks by POST only."""
    mac = b64encode(hmac.digest(_SECRET.encode(), _BODY, hashlib.sha256)).decode()
    async with httpx.AsyncClient(base_url=f"{url}/webhooks") as client:
        wrong = await client.post("/signed", content=_BODY, headers={"x-invented-signature": "x"})
        right = await client.post("/signed", content=_BODY, headers={"x-invented-signature": mac})
        put = await client.put("/signed", content=_BODY, headers={"x-invented-signature": mac})
    assert [wrong.status_code, right.status_code, put.status_code] == [401, 200, 405]
    assert put.headers["allow"] == "POST"


def _facts(statuses: list[Read]) -> list[list[str | None]]:
    """Key, gateway, viewer and status of each fact; an unknown word is `unknown:<word>`."""
    found = []
    for record in statuses:
        value = json.loads(record.value)
        status = value["status"]
        word = f"unknown:{value['provider_status']}" if status == "unknown" else status
        found.append([record.key, value["gateway"], value.get("viewer"), word])
    return sorted(found, key=str)


def _codes(letters: list[Read]) -> dict[str, int]:
    codes = [record.headers["dead-letter-code"].decode() for record in letters]
    return {code: codes.count(code) for code in codes}
