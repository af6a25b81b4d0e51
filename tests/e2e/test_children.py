"""The environment of a running command's child processes, and the permissions of its files.

Both are read as another program of the same user would, from /proc.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local_kafka.broker import free_port
from service.settings import Settings
from tests.e2e.commands import command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_SOURCES = """
[sources.shop]
provider = "whapi"
auth = "header"
header = "X-Token"
secrets = ["env:CANARY_SHOP"]
"""

_SHOP = "a canary for ingest alone"
_OTHER = "a canary that no child needs"


def _environment(folder: Path) -> dict[str, str]:
    (folder / "sources.toml").write_text(_SOURCES)
    return {
        "BLUETICK_SOURCES": str(folder / "sources.toml"),
        "CANARY_SHOP": _SHOP,
        "CANARY_OTHER": _OTHER,
    }


def _below(parent: int) -> Iterator[int]:
    """Return the child processes of a process, with their own."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(status[1]) == parent:
            yield int(folder.name)
            yield from _below(int(folder.name))


def _children(parent: int) -> dict[str, list[bytes]]:
    """The environment of each, by the last argument of its command."""
    found: dict[str, list[bytes]] = {}
    for pid in _below(parent):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().strip("\0").split("\0")
        name = "kafka" if "kafka.Kafka" in arguments else arguments[-1]
        found.setdefault(name, []).append(Path(f"/proc/{pid}/environ").read_bytes())
    return found


def _holds(environment: bytes) -> set[str]:
    return {text for text in (_SHOP, _OTHER) if text.encode() in environment}


async def _post(port: int) -> int:
    """Send a webhook with the secret; return the status of the answer."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        answer = await client.post("/webhooks/shop", json={}, headers={"X-Token": _SHOP})
    return answer.status_code


@pytest.mark.timeout(240)
@pytest.mark.long
async def test_up_gives_each_process_what_it_needs(tmp_path: Path) -> None:
    """Kafka gets no setting and no secret, of the services only ingest secrets; files are private.

    Directories of an earlier version are tightened.
    """
    data = tmp_path / "data"
    store = data / "state/bluetick/track/0"
    for folder in (store, data / "kafka"):
        folder.mkdir(parents=True, mode=0o755)
        (folder / "old").touch(mode=0o644)
    port = free_port(0)
    arguments = ("up", "--port", str(port), "--kafka-port", "0", "--data", str(data))
    async with command(*arguments, BLUETICK_PARTITIONS="1", **_environment(tmp_path)) as up:
        await up.until("Ctrl-C stops everything.")
        children = _children(up.pid)
        assert {name: len(found) for name, found in children.items()} == dict.fromkeys(
            ("kafka", "ingest", "normalise", "track", "measure", "console"), 1
        )
        assert {name: _holds(found) for name, [found] in children.items()} == {
            "kafka": set(),
            "ingest": {_SHOP},
            "normalise": set(),
            "track": set(),
            "measure": set(),
            "console": set(),
        }
        assert b"BLUETICK_" not in children["kafka"][0]
        assert await _post(port) == 200
        up.interrupt()
        assert await up.ended() == 0
    folders = (data / "kafka", data / "state/bluetick")
    found = [*folders, *(path for folder in folders for path in folder.rglob("*"))]
    assert len(found) > 40
    assert [path for path in found if path.lstat().st_mode & 0o077] == []


@pytest.mark.long
async def test_workers_get_the_secrets_of_their_sources(settings: Settings, tmp_path: Path) -> None:
    """Workers get nothing else of the supervisor's environment, except settings."""
    variables = {
        f"BLUETICK_{name.upper()}": str(getattr(settings, name))
        for name in ("kafka", "namespace", "partitions", "port")
    }
    async with command("ingest", "--workers", "2", **variables, **_environment(tmp_path)) as ingest:
        await ingest.until(" starting: version ", times=3)
        assert await _post(settings.port) == 200
        workers = [found for each in _children(ingest.pid).values() for found in each]
        assert [_holds(found) for found in workers] == [{_SHOP}] * 2
        ingest.interrupt()
        assert await ingest.ended() == 0
    assert ingest.output.count(" starting: version ") == 3
    assert len(re.findall(r"ingest worker \d+ starting: .* webhooks on ", ingest.output)) == 2
    assert len(re.findall(r"ingest worker \d+ stopped: SIGTERM\n", ingest.output)) == 2
    assert "ingest stopped: SIGINT\n" in ingest.output
