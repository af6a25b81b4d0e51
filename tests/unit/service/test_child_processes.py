"""Child processes whose output is read, and how they are ended."""

import asyncio
import signal
import sys
from asyncio.subprocess import STDOUT, Process

import pytest

from service import child_processes
from service.child_processes import Child, lines

_DEAF = "import signal, sys, time; signal.signal(15, signal.SIG_IGN)"


@pytest.mark.parametrize(
    ("too_long", "read"),
    [(b"", [b"short\n", b"next\n"]), (b"(long)", [b"short\n", b"(long)", b"next\n"])],
)
async def test_a_line_over_the_limit_does_not_stop_the_reading(
    too_long: bytes, read: list[bytes]
) -> None:
    """The long line is dropped or replaced, and the next one is read."""
    stream = asyncio.StreamReader(limit=10)
    stream.feed_data(b"short\n" + b"x" * 50 + b"\nnext\n")
    stream.feed_eof()
    assert [line async for line in lines(stream, too_long)] == read


async def _started(code: str) -> tuple[Child, list[bytes]]:
    """A process that has printed its first line, and the lines it prints."""
    seen: list[bytes] = []
    first = asyncio.Event()

    async def read(process: Process) -> None:
        async for line in lines(process.stdout):
            seen.append(line)
            first.set()

    process = await child_processes.start([sys.executable, "-uc", code], {}, stderr=STDOUT)
    child = Child(process, read(process))
    await first.wait()
    return child, seen


@pytest.mark.parametrize(
    ("code", "seconds", "exit_code"),
    [
        ("print(1)", 30, 0),
        ("import time; print(1); time.sleep(99)", 30, -signal.SIGTERM),
        (f"{_DEAF}; print(1); time.sleep(99)", 0.1, -signal.SIGKILL),
    ],
    ids=["ended", "asked", "killed"],
)
async def test_a_child_is_ended(code: str, seconds: float, exit_code: int) -> None:
    """It ends by itself, by SIGTERM, or by SIGKILL if it does not end in time."""
    child, _ = await _started(code)
    if exit_code == 0:
        await child.wait()
    await child.end(seconds)
    assert child.exit_code == exit_code


async def test_waiting_ends_after_the_last_line() -> None:
    """All output before the end of a process is read."""
    child, seen = await _started("[print(n) for n in range(5000)]")
    await child.wait()
    assert seen[-1] == b"4999\n"


async def test_a_cancelled_wait_does_not_stop_the_reading() -> None:
    """The next wait still ends after the last line."""
    more = asyncio.Event()
    read: list[str] = []

    async def reading() -> None:
        await more.wait()
        read.append("to the end")

    process = await child_processes.start([sys.executable, "-c", ""], {})
    child = Child(process, reading())
    await process.wait()
    waiting = asyncio.create_task(child.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    more.set()
    await child.wait()
    assert read == ["to the end"]
