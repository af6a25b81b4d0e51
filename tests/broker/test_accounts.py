"""Sources that report on other sources' accounts, over real HTTP and a real Kafka."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.processes import Running, Service, running
from cli.simulator import http_client
from service.settings import Settings
from tests.broker.reading import Read, caught_up, read
from tests.broker.test_dead_letters import Log, dead_letters, environment
from tests.e2e.commands import run

_SOURCES = """
[sources.tenant-a]
provider = "whapi"
auth = "header"
header = "X-Token"
secrets = ["env:TENANT_A"]
accounts = ["A-*"]

[sources.tenant-b]
provider = "whapi"
auth = "header"
header = "X-Token"
secrets = ["env:TENANT_B"]
accounts = ["B-1"]

[sources.shop]
provider = "smsmanager"
auth = "none"
accounts = ["shop"]
"""

_SECRETS = {"TENANT_A": "the secret of tenant A", "TENANT_B": "the secret of tenant B"}
_SMS = [{"type": "outgoing", "message_id": "S1", "gateway": "sms", "result": "sent"}]


def _whapi(account: str, **statuses: str) -> dict[str, Any]:
    items = [{"id": id_, "status": status} for id_, status in statuses.items()]
    return {"channel_id": account, "statuses": items}


@pytest.fixture
def tenants(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two tenants of one provider, each with its own accounts, and a shop."""
    for name, secret in _SECRETS.items():
        monkeypatch.setenv(name, secret)
    file = tmp_path / "sources.toml"
    file.write_text(_SOURCES)
    return settings.model_copy(update={"sources": file})


@asynccontextmanager
async def _services(settings: Settings, log: Log) -> AsyncIterator[list[Running]]:
    services = [
        Service("ingest", settings.port),
        Service("normalise", settings.health_port("normalise")),
        Service("track", settings.health_port("track")),
    ]
    async with running(settings, services, log) as started:
        yield started


async def _post(settings: Settings, source: str, body: object) -> None:
    """Post as that source with its own secret; expects 200."""
    secret = _SECRETS.get(source.upper().replace("-", "_"), "")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}") as http:
        answer = await http.post(f"/webhooks/{source}", json=body, headers={"X-Token": secret})
    assert answer.status_code == 200


async def _attack(settings: Settings) -> None:
    """Tenant B reports A's message as failed, between reports about its own message."""
    await _post(settings, "tenant-a", _whapi("A-1", M1="sent"))
    await _post(settings, "tenant-b", _whapi("B-1", M1="sent"))
    await _post(settings, "tenant-b", _whapi("A-1", M1="failed", M2="failed"))
    await _post(settings, "shop", _SMS)


async def _states(settings: Settings) -> dict[str, str]:
    """Return the status of each message."""
    records = await read(settings.kafka, settings.topics.messages)
    return {record.key: json.loads(record.value)["status"] for record in records}


async def _statuses(settings: Settings) -> set[tuple[str, str, str]]:
    """Return key, status and source of each record of `statuses`."""
    facts = [json.loads(r.value) for r in await read(settings.kafka, settings.topics.statuses)]
    return {(one["message_key"], one["status"], one["source"]) for one in facts}


def _about(letter: Read) -> tuple[str, ...]:
    names = ("dead-letter-code", "dead-letter-pointer", "dead-letter-account", "ce_source")
    return tuple(letter.headers[name].decode() for name in names)


_ALONE = {"whapi/A-1/M1": "sent", "whapi/B-1/M1": "sent", "smsmanager/shop/S1": "sent"}


@pytest.mark.long
async def test_no_source_reports_on_accounts_of_another(tenants: Settings) -> None:
    """A's message does not fail: B's items are dead letters, counted and alarmed, with coordinates.

    Once the file permits B the account, a retry publishes them, and the fact names its source.
    """
    log = Log()
    async with _services(tenants, log) as [_, normalise, _]:
        await _attack(tenants)
        await caught_up(tenants.kafka, tenants.topics)
        assert await _states(tenants) == _ALONE
        assert await _statuses(tenants) == {
            ("whapi/A-1/M1", "sent", "tenant-a"),
            ("whapi/B-1/M1", "sent", "tenant-b"),
            ("smsmanager/shop/S1", "sent", "shop"),
        }
        letters = await read(tenants.kafka, tenants.topics.dead_letters)
        assert sorted(map(_about, letters)) == [
            ("foreign_account", "/statuses/0", "A-1", "/webhooks/tenant-b"),
            ("foreign_account", "/statuses/1", "A-1", "/webhooks/tenant-b"),
        ]
        assert json.loads(letters[0].value)["id"] in ("M1", "M2")
        metrics = (await http_client.get(normalise.service.url, "/metrics")).body
        assert b'bluetick_foreign_account_total{source="tenant-b"} 2.0' in metrics
        place = f"{tenants.topics.raw('whapi')}[{letters[0].partition}]@"
        [line] = [line for line in log.lines if " ERROR " in line]
        assert f"{place}" in line
        assert "the source 'tenant-b' speaks for the account 'A-1'" in line

        done = await _retried(tenants)
        assert (done["resolved"], done["failing"]) == (0, {"foreign_account": 2})
        assert tenants.sources is not None
        tenants.sources.write_text(_SOURCES.replace('["B-1"]', '["B-1", "A-1"]'))
        done = await _retried(tenants)
        assert (done["resolved"], done["observations"], done["open"]) == (2, 2, 0)
        await caught_up(tenants.kafka, tenants.topics)
        assert await _states(tenants) == _ALONE | {
            "whapi/A-1/M1": "failed",
            "whapi/A-1/M2": "failed",
        }
        assert ("whapi/A-1/M1", "failed", "tenant-b") in await _statuses(tenants)


async def _retried(settings: Settings) -> Any:
    # Its environment has the sources file of ingest, and none of its secrets.
    sources = {"BLUETICK_SOURCES": str(settings.sources)} | dict.fromkeys(_SECRETS, "")
    code = ("--code", "foreign_account", "--json")
    return json.loads(await dead_letters(settings, "retry", *code, code=0, **sources))


@pytest.mark.long
async def test_a_replay_uses_the_accounts_of_reception_unless_given_others(
    tenants: Settings,
) -> None:
    """A later file has no effect; with --accounts the file's accounts are permitted too."""
    async with _services(tenants, Log()):
        await _attack(tenants)
        await caught_up(tenants.kafka, tenants.topics)
        assert tenants.sources is not None
        corrected = tenants.sources.with_name("corrected.toml")
        corrected.write_text(_SOURCES.replace('["B-1"]', '["?-1"]').replace('"shop"]', '"other"]'))
        same = await _replay(tenants, "plan", "--json", "--from", "oldest")
        assert {fact["new"] for fact in json.loads(same)["facts"]} == {0}

        begin = ("--from", "oldest", "--accounts", str(corrected))
        plan = json.loads(await _replay(tenants, "plan", "--json", *begin))
        new = {(fact["status"], fact["new"]) for fact in plan["facts"] if fact["new"]}
        assert new == {("failed", 2)}
        killed = {"BLUETICK_FAILPOINT": "replay.before_commit=kill"}
        await _replay(tenants, "run", "--yes", "--id", "r", *begin, code=-9, **killed)
        refused = await _replay(tenants, "run", "--yes", "--id", "r", code=1)
        assert "the replay r has begun with other accounts" in refused
        await _replay(tenants, "run", "--yes", "--id", "r", "--accounts", str(corrected))
        await caught_up(tenants.kafka, tenants.topics)
        assert await _states(tenants) == _ALONE | {
            "whapi/A-1/M1": "failed",
            "whapi/A-1/M2": "failed",
        }


async def _replay(settings: Settings, *arguments: str, code: int = 0, **more: str) -> str:
    ended, output = await run("replay", *arguments, **environment(settings), **more)
    assert ended == code, output
    return output
