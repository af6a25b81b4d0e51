"""The audit log: a line on the disk first, then on Kafka; only the owner may read it."""

import json
import stat
from pathlib import Path

from starlette.requests import Request

from console.access.audit import Audit
from console.access.roles import Person
from service.settings import Settings

ANN = Person("ann", frozenset({"view", "act"}))


def request_of(path: str) -> Request:
    scope = {"type": "http", "path": path, "headers": [], "query_string": b"", "method": "POST"}
    return Request({**scope, "client": ("10.0.0.7", 1), "server": ("localhost", 80)})


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_each_action_is_a_line_although_kafka_is_away(tmp_path: Path) -> None:
    file = tmp_path / "below" / "audit.jsonl"
    audit = Audit(Settings(kafka="127.0.0.1:1"), file)
    await audit.record(ANN, request_of("/replays/runs"), "replay", replay="r-1")
    await audit.record(ANN, request_of("/x{}"), "retry", causes=[["a", "b", "c"]])
    await audit.close()
    first, second = lines(file)
    assert first.pop("at")
    assert first == {
        "person": "ann",
        "address": "10.0.0.7",
        "action": "replay",
        "path": "/replays/runs",
        "replay": "r-1",
    }
    assert second["path"] == "/x{}"
    assert mode(file) == 0o600
