"""Running the real command line in a process of its own, and finding processes it leaves."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bluetick

SECONDS = 90
COMMAND = (sys.executable, str(Path(bluetick.__file__)))


class Command:
    """A running command, with its output so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.output = ""
        self.pid = process.pid

    async def until(self, text: str, times: int = 1) -> None:
        """Read its output until it has printed `text` `count` times."""
        async with asyncio.timeout(SECONDS):
            while self.output.count(text) < times:
                await self._line()

    async def ended(self) -> int:
        """Read its output to the end; returns the exit code."""
        async with asyncio.timeout(SECONDS):
            while not self._process.stdout.at_eof():  # type: ignore[union-attr]
                self.output += await self._read()
            return await self._process.wait()

    async def until_stopped(self) -> None:
        """Wait until a SIGSTOP has stopped it, as a failpoint does."""
        async with asyncio.timeout(SECONDS):
            while not is_stopped(self.pid):
                assert self._process.returncode is None, f"it ended:\n{self.output}"
                await asyncio.sleep(0.02)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.signal(signal.SIGINT)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def _line(self) -> None:
        line = await self._read()
        assert line, f"it ended without the expected text:\n{self.output}"
        self.output += line

    async def _read(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()


@asynccontextmanager
async def command(*arguments: str, **environment: str) -> AsyncIterator[Command]:
    """Start `bluetick` with arguments and further environment variables; killed at the end."""
    async with started(*COMMAND, *arguments, **environment) as one:
        yield one


@asynccontextmanager
async def started(*line: str, **environment: str) -> AsyncIterator[Command]:
    """Start a command line that runs `bluetick`, without the settings of this process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLUETICK_")}
    given = {"BLUETICK_INGEST_METRICS_PORT": "0", "BLUETICK_LOG_FORMAT": "console", **environment}
    process = await asyncio.create_subprocess_exec(
        *line,
        env={**kept, "COLUMNS": "200", **given},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run `bluetick` to its end; returns exit code and output."""
    async with command(*arguments, **environment) as running:
        code = await running.ended()
        return code, running.output


def is_stopped(pid: int) -> bool:
    """Whether a SIGSTOP has stopped a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def left_behind(mark: str) -> dict[int, str]:
    """Live processes that mention `mark` in their command line or environment: id to command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            text = line + (folder / "environ").read_bytes()
        except OSError:  # it has ended, or belongs to another user
            continue
        if mark.encode() in text and int(folder.name) != os.getpid():
            found[int(folder.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found
