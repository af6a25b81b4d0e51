"""Child processes that never outlive us: spawn, wait without blocking the loop, end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service import child_environment, private_files

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_REAP_SECONDS = 10  # SIGKILL takes milliseconds, unless the machine is in deep trouble


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The command, so wrapped that on Linux it is killed when the calling *thread* ends.

    The kernel ties it to the thread (prctl(2)): use it from the thread of the event loop.
    """
    return [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command]


def spawn(command: Sequence[str], log: Path, keep: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start `command` in the directory of `log`, which receives its output; `keep` stays open.

    Its environment is the system's variables, and what it creates is private. The kernel ends it
    with us, and it has a session of its own, so Ctrl-C in the terminal does not reach it.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 (the command is ours)
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
    """Wait for the process to end; None when it still runs after that many seconds."""
    try:
        return await asyncio.to_thread(process.wait, seconds)
    except subprocess.TimeoutExpired:
        return None


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process if it still runs, and reap it."""
    process.kill()
    process.wait(_REAP_SECONDS)


async def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGTERM, up to `seconds` of patience, then SIGKILL; also when this wait is cancelled."""
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)  # a paused process would not notice
    try:
        await exit_code(process, seconds)
    finally:
        kill(process)
