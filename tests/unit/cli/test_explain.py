"""`bluetick explain`: bodies and lives in, the records of each topic out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.explain import explain
from service.errors import Problem
from tests import HOME

LIVES = HOME / "tests/unit/processors/replay/lives"
KEY = "whapi/CEDAR-R7PLX/FldOutboundLife-wQ1zR8"


def shown(capsys: pytest.CaptureFixture[str], *files: str | Path, **options: Any) -> list[str]:
    given: dict[str, Any] = {"provider": None, "wait": 0, "received_at": None, "json": True}
    explain([str(file) for file in files], **(given | options))
    return capsys.readouterr().out.splitlines()


def test_a_life_is_a_line_of_json_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Topics in the order of publication, with type and key; the states come last."""
    lines = [json.loads(one) for one in shown(capsys, LIVES / "sent-then-silence.life.json")]

    assert [(one["topic"], one["type"]) for one in lines] == [
        ("observations", "status"),
        ("statuses", "status"),
        ("events", "advanced"),
        ("events", "stalled"),
        ("messages", "state"),
    ]
    assert {one["key"] for one in lines} == {KEY}
    assert lines[-1]["record"]["status"] == "sent"


def test_a_timeline_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines as `tail` has them: no texts, numbers masked, each record at its time."""
    lines = shown(capsys, LIVES / "sent-then-silence.life.json", json=False)

    assert [line.split()[0] for line in lines] == [
        *("observations", "statuses", "events", "events", "messages")
    ]
    assert lines[3].split() == [
        *("events", "2025-11-23T08:28:16.000Z", KEY),
        *("stalled", "sent", "for", "24", "h", "0", "min", "whatsapp"),
    ]
    assert "4915550100234" not in "".join(lines)


def test_viewers_states_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Each viewer has a state of its own, after those of messages, in both forms."""
    life = LIVES / "viewers-of-a-group-message.life.json"

    lines, states = shown(capsys, life, json=False), shown(capsys, life)

    assert [line.split()[2] for line in lines[-3:]] == [
        *(KEY, f"viewer/…001/{KEY}", f"viewer/…002/{KEY}")
    ]
    assert json.loads(states[-1])["record"]["attempts"]["whatsapp"]["status"] == "read"


def test_a_body_needs_its_provider_and_waits(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One body, received at a time of choice, and silence after it."""
    life = json.loads((LIVES / "sent-then-silence.life.json").read_text())
    body = tmp_path / "body.json"
    body.write_text(json.dumps(life[0]["body"]))

    at = {"provider": "whapi", "received_at": life[0]["received_at"]}
    types = [json.loads(one)["type"] for one in shown(capsys, body, **at, wait=25)]

    assert types == ["status", "status", "advanced", "stalled", "state"]
    with pytest.raises(Problem, match=r"body\.json: .* name its provider"):
        shown(capsys, body)
    with pytest.raises(Problem, match="no provider 'nobody'"):
        shown(capsys, body, provider="nobody")


def test_what_is_refused_and_ignored_is_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A dead letter has code and reason, in both forms; what was ignored is counted."""
    bad, calls = tmp_path / "bad.json", tmp_path / "calls.json"
    bad.write_text("{oops")
    calls.write_text('{"calls": [{}], "event": {"type": "calls", "event": "post"}}')
    files = {"provider": "whapi", "received_at": 1}

    letter, ignored = map(json.loads, shown(capsys, bad, calls, **files))
    lines = shown(capsys, bad, calls, **files, json=False)

    assert (letter["topic"], letter["type"], letter["key"]) == ("dead-letters", "not_json", None)
    assert letter["record"]["reason"].startswith("the body is not JSON")
    assert ignored == {"ignored": {"calls": 1}}
    assert lines[0].startswith("dead-letters not_json  the body is not JSON")
    assert lines[1] == "(ignored)    calls: 1"


def test_the_setting_about_stories_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A contact's story is an inbound message, if the setting says so."""
    story = tmp_path / "story.json"
    example = json.loads((HOME / "providers/whapi/examples/inbound-story.json").read_text())
    story.write_text(json.dumps(example["body"]))

    def topics() -> list[str]:
        lines = shown(capsys, story, provider="whapi")
        return [json.loads(line).get("topic", "ignored") for line in lines]

    assert topics() == ["ignored"]
    monkeypatch.setenv("BLUETICK_STORIES", "true")
    assert topics() == ["observations", "inbound", "messages"]


@pytest.mark.parametrize(("name", "code"), [("sent-then-silence.life.json", 0), ("nothing", 1)])
def test_the_command_ends_with_a_code(name: str, code: int) -> None:
    """0 without dead letters; a file that is not there is one sentence."""
    command = [sys.executable, str(HOME / "bluetick.py"), "explain", "--json", str(LIVES / name)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == code
    assert bool(ended.stdout) == (code == 0)
    assert "Traceback" not in ended.stderr
