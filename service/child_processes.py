"""Child processes that end with their parent: start, wait without blocking the loop, end.

`spawn` starts a process that writes to a log file, `start` one whose output this process reads.
"""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from service import child_environment, private_files

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_LONGEST_LINE = 1024 * 1024
_REAP_SECONDS = 10  # SIGKILL normally takes milliseconds


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """Return the command wrapped so that Linux kills it when the calling *thread* ends.

    The kernel ties it to the thread (prctl(2)): call this from the thread of the event loop.
    """
    return [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command]


def spawn(command: Sequence[str], log: Path, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start `command` in the directory of `log`, which receives its output; `keep` stays open.

    Its environment is the system's variables, and what it creates is private. The kernel ends it
    with this process. It has a session of its own, so Ctrl-C in the terminal does not reach it.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 (callers pass fixed commands)
            dying_with_parent(command),
            cwd=log.parent,
            env=child_environment.system(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=keep,
            umask=private_files.MASK,
        )


async def exit_code(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for the process to end; return None if it still runs after that many seconds."""
    try:
        return await asyncio.to_thread(process.wait, seconds)
    except subprocess.TimeoutExpired:
        return None


def kill(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to the process if it still runs, and reap it."""
    process.kill()
    process.wait(_REAP_SECONDS)


async def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Send SIGTERM, wait up to `seconds`, then send SIGKILL; also if this wait is cancelled."""
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)  # a stopped process does not handle SIGTERM
    try:
        await exit_code(process, seconds)
    finally:
        kill(process)


async def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    stderr: int = PIPE,
    keep: Sequence[int] = (),
) -> Process:
    """Start `command` with pipes for its output, `stderr` apart or with the rest; see `Child`.

    It has a session of its own: Ctrl-C in the terminal reaches only this process, which ends it.
    """
    return await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=stderr,
        limit=_LONGEST_LINE,
        pass_fds=keep,
        start_new_session=True,
    )


class Child:
    """A process that was started with `start`, and the tasks that read its output."""

    def __init__(self, process: Process, *reading: Coroutine[Any, Any, None]) -> None:
        self._process = process
        self._reading = asyncio.gather(*reading)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code: negative if a signal ended the process, None if it still runs."""
        return self._process.returncode

    async def wait(self) -> None:
        """Wait until the process has ended and all of its output is read."""
        await self._process.wait()
        await asyncio.shield(self._reading)

    def kill(self) -> None:
        """Send SIGKILL to the process if it still runs."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self, seconds: float) -> None:
        """Send SIGTERM, wait up to `seconds`, then send SIGKILL; do nothing if it has ended."""
        if self.exit_code is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()


async def lines(stream: asyncio.StreamReader | None, too_long: bytes = b"") -> AsyncIterator[bytes]:
    """Yield each line of a pipe; replace a line over 1 MiB by `too_long`, or drop it if empty."""
    assert stream is not None  # noqa: S101 - the process was started with this pipe
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # asyncio has dropped the part of the line that was read
            if too_long:
                yield too_long
            continue
        if not line:
            return
        yield line
