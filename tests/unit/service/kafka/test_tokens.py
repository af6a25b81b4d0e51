"""Tokens of OAUTHBEARER from files and commands."""

import base64
import json
import sys
from pathlib import Path

import pytest

from service.kafka import tokens
from service.kafka.tokens import FromCommand, FromFile, TokenError


def jwt(**claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."


@pytest.mark.parametrize(
    ("token", "end"),
    [
        (jwt(exp=5000), 5000),
        (jwt(exp=5000.5, sub="a"), 5000.5),
        (jwt(sub="a"), 1090),
        ("opaque", 1090),
        ("a.b.c", 1090),
        ("", 1090),
    ],
)
def test_the_end_of_a_token(token: str, end: float) -> None:
    """Without a claim of its end, a token is used for a minute."""
    assert tokens.end(token, 1000) == end


async def test_a_file_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    provider = FromFile(file)
    assert await provider.token() == "one"
    file.write_text("two\n")
    assert await provider.token() == "two"
    file.write_text("\n")
    with pytest.raises(TokenError, match="is empty"):
        await provider.token()
    file.unlink()
    with pytest.raises(TokenError, match=r"cannot be read .No such file"):
        await provider.token()


async def test_a_command_runs_again_only_near_the_end_of_its_token(
    tmp_path: Path,
) -> None:
    clock = [1000.0]
    script = tmp_path / "script"
    script.write_text(
        f"import pathlib; p = pathlib.Path({str(tmp_path / 'runs')!r}); "
        "p.open('a').write('x'); "
        f"print({jwt(exp=2000)!r} + '-' + str(p.stat().st_size))"
    )
    provider = FromCommand(f"{sys.executable} {script}", lambda: clock[0])
    first = await provider.token()
    clock[0] = 1969.0
    assert await provider.token() == first
    clock[0] = 1970.0
    assert await provider.token() != first


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("false", "exit code 1"),
        ("true", "printed nothing"),
        ("/nowhere/command", "cannot be run .No such file"),
        ("unbalanced 'quote", "cannot be run .No closing quotation"),
    ],
)
async def test_a_command_without_a_token(command: str, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        await FromCommand(command).token()


async def test_a_command_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_COMMAND_SECONDS", 0.05)
    with pytest.raises(TokenError, match=r"did not end within 0.05 s"):
        await FromCommand("sleep 60").token()
