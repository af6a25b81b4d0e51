"""Ctrl-C at the real command line: exit code 130 and one sentence."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.commands import SECONDS, Command, command


class Silent:
    """A server that accepts connections and never answers."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.reached.set()
        try:
            await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    """A server that a command waits for until it is interrupted."""
    one = Silent()
    async with await asyncio.start_server(one.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        one.address = f"{host}:{port}"
        yield one


async def interrupted(one: Command) -> list[str]:
    """Press Ctrl-C; the last line printed must be the command's sentence."""
    one.interrupt()
    assert await one.ended() == 130, one.output
    assert "Traceback" not in one.output
    assert "Aborted" not in one.output
    said = [line for line in one.output.splitlines() if line.startswith("bluetick: ")]
    assert len(said) == 1, one.output
    assert one.output.endswith(f"{said[0]}\n")
    return said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("topics check", "stopped"),
        ("topics apply", "stopped"),
        ("namespace list", "stopped"),
        ("namespace drop v1 --confirm v1", "stopped"),
        ("diff v1 v2", "stopped"),
        ("dead-letters list", "stopped"),
        ("dead-letters show raw.whapi/0/0", "stopped"),
        ("dead-letters export {tmp}/x.jsonl", "stopped"),
        ("dead-letters retry", "stopped"),
        ("replay list", "stopped"),
        ("replay plan --from oldest", "stopped"),
        ("archive {tmp}/archive", "stopped"),
        ("spool drain", "still in {tmp}"),
        ("rebuild --into v2", "bluetick rebuild --into v2 --resume"),
    ],
)
async def test_a_command_that_waits_for_kafka_is_stopped(
    silent: Silent, tmp_path: Path, arguments: str, sentence: str
) -> None:
    """It ends at once, with exit code 130 and one sentence."""
    where = {"BLUETICK_KAFKA": silent.address, "BLUETICK_SPOOL": str(tmp_path)}
    typed = arguments.format(tmp=tmp_path).split()
    async with command(*typed, **where) as one:
        async with asyncio.timeout(SECONDS):
            await silent.reached.wait()
        assert (await interrupted(one))[0].endswith(sentence.format(tmp=tmp_path))


async def test_sending_says_how_far_it_was(silent: Silent) -> None:
    """It does not wait for the answers to sent posts."""
    async with command("send", "all", "--url", f"http://{silent.address}", "--seed", "1") as one:
        async with asyncio.timeout(SECONDS):
            await silent.reached.wait()
        assert (await interrupted(one))[0].startswith("bluetick: stopped after 0 of ")
