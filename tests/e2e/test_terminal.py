"""JSON output of every command when providers send control characters."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cli.processes import Service, running
from deploy import topics
from ingest.spool.database import SpoolFile
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up
from tests.broker.test_dead_letters import environment
from tests.e2e.commands import run
from tests.unit.cli.output.test_json_escaping import UNSAFE

# A message id may contain all of them, except NUL in an argument of a command.
_MARK = UNSAFE.replace("\x00", "")
_ID = f"M{_MARK}"
_KEY = f"whapi/-/{_ID}"


def _webhook() -> RawWebhook:
    items = [{"id": _ID, "status": "sent"}, {_MARK: 1}]
    return RawWebhook(
        id="w-1",
        source="whapi",
        provider="whapi",
        body=json.dumps({"statuses": items}, ensure_ascii=False).encode(),
        received_at=round(time.time() * 1000),
        headers={"user-agent": _MARK},
    )


def _strings(value: Any) -> str:
    """All texts in a JSON value, one after the other."""
    if isinstance(value, dict):
        return "".join(map(_strings, [*value.keys(), *value.values()]))
    if isinstance(value, list):
        return "".join(map(_strings, value))
    return str(value)


def _judge(what: str, text: str, *, lines: bool = True) -> None:
    """JSON with the characters in its value, and not in its spelling."""
    assert [char for char in text if char != "\n" and not char.isprintable()] == [], what
    values = (
        [json.loads(line) for line in text.rstrip("\n").split("\n")] if lines else json.loads(text)
    )
    assert _MARK in _strings(values), what


@pytest.mark.long
async def test_no_command_prints_control_characters(settings: Settings, tmp_path: Path) -> None:
    """All commands with JSON output, on ids, names and headers with control characters."""
    hook = _webhook()
    await write(
        settings,
        [Record(settings.topics.raw("whapi"), 0, None, hook.body, to_headers(hook))] * 2,
    )
    services = [
        Service("normalise", settings.health_port("normalise")),
        Service("track", settings.health_port("track")),
    ]
    async with running(settings, services, lambda *_: None):
        await caught_up(settings.kafka, settings.topics)
    other = settings.of(f"{settings.namespace}-b")
    await topics.apply(other)
    spool = tmp_path / "spool/0"
    spool.mkdir(parents=True)
    file = SpoolFile(spool)
    file.add([hook])
    file.close()
    (tmp_path / "body.json").write_bytes(hook.body)

    async def printed(*arguments: str, code: int = 0) -> str:
        more = {"BLUETICK_SPOOL": str(spool.parent)}
        ended, output = await run(*arguments, **environment(settings), **more)
        assert ended == code, output
        return output

    tail = ("--from-start", "--until-end", "--json")
    for name in ("raw.whapi", "observations", "statuses", "events", "messages", "dead-letters"):
        _judge(name, await printed("tail", name, *tail))
    _judge("parse", await printed("parse", "whapi", str(tmp_path / "body.json"), code=1))
    _judge("show", await printed("dead-letters", "show", "raw.whapi/0/0", "--json"))
    _judge("diff", await printed("diff", settings.namespace, other.namespace, "--json", code=1))
    only = ("--from", "oldest", "--only", _KEY)
    _judge("plan", await printed("replay", "plan", "--json", *only), lines=False)
    await printed("replay", "run", "--yes", "--id", "r", *only)
    _judge("list", await printed("replay", "list", "--json"), lines=False)
    _judge("report", await printed("replay", "report", "r", "--json"), lines=False)
    await printed("dead-letters", "export", str(tmp_path / "letters.jsonl"))
    _judge("letters", (tmp_path / "letters.jsonl").read_text())
    await printed("spool", "export", str(tmp_path / "spool.jsonl"))
    _judge("spool", (tmp_path / "spool.jsonl").read_text())
