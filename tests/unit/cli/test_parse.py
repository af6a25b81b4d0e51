"""`bluetick parse`: one body in, its observations, dead letters and ignored counts out."""

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import parse
from cli.options import Request
from schemas.codec import decode_observation
from service.errors import Problem
from tests import HOME

REPORT = {
    "request_id": "bc36f3d1-d284-463a-921b-a3560c154649",
    "message_id": "e27ff0ac-87b5-4e1d-b644-5fc6029e2a11",
    "gateway": "sms",
    "timestamp": 1700000000,
    "type": "outgoing",
    "to": {"phone_number": "447700900123"},
    "result": "delivered",
}


def written(tmp_path: Path, body: object) -> str:
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))
    return str(file)


def test_observations_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound body gives one observation a line, and 0."""
    file = written(tmp_path, [REPORT, {**REPORT, "result": "sent"}])
    assert parse.run("smsmanager", file, received_at=1) == 0
    printed = capsys.readouterr().out
    observations = [decode_observation(line.encode()) for line in printed.splitlines()]
    assert [(one.message_key, one.received_at, one.raw.index) for one in observations] == [
        (f"smsmanager/-/{REPORT['message_id']}", 1, 0),
        (f"smsmanager/-/{REPORT['message_id']}", 1, 1),
    ]
    assert parse.run("smsmanager", file, received_at=1) == 0
    assert capsys.readouterr().out == printed


def test_a_dead_letter_is_printed_beside_the_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A malformed item is printed with code, reason and pointer, and the exit code is 1."""
    file = written(tmp_path, [{**REPORT, "result": None}, REPORT])
    assert parse.run("smsmanager", file) == 1
    good, bad = capsys.readouterr().out.splitlines()
    assert json.loads(good)["status"] == "delivered"
    letter = json.loads(bad)["dead_letter"]
    assert (letter.keys(), letter["code"], letter["pointer"]) == (
        {"code", "reason", "pointer"},
        "missing_field",
        "/0",
    )


def test_the_url_and_verb_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the standard input, a body without an event is known by its path and verb."""
    stdin = SimpleNamespace(buffer=io.BytesIO(b'{"channel_id":"TITMSE-S1MUL"}'))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert parse.run("whapi", request=Request(path="/service", method="put")) == 0
    assert capsys.readouterr().out == '{"ignored":{"service.put":1}}\n'


@pytest.mark.parametrize(("given", "printed"), [("true", "message_id"), ("false", "ignored")])
def test_the_setting_about_stories_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str, printed: str
) -> None:
    """A contact's story is an inbound message, or ignored, as in *normalise*."""
    monkeypatch.setenv("BLUETICK_STORIES", given)
    story = HOME / "providers/whapi/examples/inbound-story.json"
    body = json.dumps(json.loads(story.read_text())["body"]).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(body)))
    assert parse.run("whapi") == 0
    assert printed in json.loads(capsys.readouterr().out)


def test_kept_headers_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A header such as Content-Encoding reaches the normaliser."""
    file = tmp_path / "body.json.gz"
    file.write_bytes(gzip.compress(b"{}"))
    parse.run("whapi", str(file), Request(header=["Content-Encoding: gzip", "Authorization: x"]))
    assert json.loads(capsys.readouterr().out) == {"ignored": {"test": 1}}


@pytest.mark.parametrize(
    ("provider", "file", "header", "words"),
    [
        ("acme", "-", "a:b", "no provider 'acme'"),
        ("whapi", "missing.json", "a:b", "missing.json cannot be read"),
        ("whapi", "-", "novalue", "'novalue' is not valid; write name:value"),
    ],
)
def test_a_wrong_argument_is_reported(provider: str, file: str, header: str, words: str) -> None:
    """A wrong provider, file or header is one sentence that names it."""
    with pytest.raises(Problem, match=words):
        parse.run(provider, file, Request(header=[header]))
