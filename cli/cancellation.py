"""Asynchronous work of a command that SIGINT and SIGTERM cancel."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from cli.interrupt import Interrupted


def run_until_stopped(work: Coroutine[Any, Any, int], sentence: str | None = None) -> int:
    """Run to the end, or to SIGINT or SIGTERM, which cancel it; returns the exit code.

    Stopping is the normal end of work without a sentence: it returns 0. Else it is `Interrupted`.
    """

    async def run() -> int:
        task = asyncio.create_task(work)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            if sentence is None:
                return 0
            raise Interrupted(sentence) from None

    return asyncio.run(run())
