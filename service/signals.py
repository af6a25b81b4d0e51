"""SIGTERM and SIGINT (Ctrl-C): what a process does when it is asked to stop."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Stop(asyncio.Event):
    """Set once a process is to stop; `reason` is the signal's name."""

    reason = "it ended by itself"

    def on(self, number: signal.Signals) -> None:
        self.reason = number.name
        self.set()


def stop_on_signals() -> Stop:
    """An event that both signals set, for the rest of the process."""
    stop = Stop()
    for number in _NUMBERS:
        asyncio.get_running_loop().add_signal_handler(number, stop.on, number)
    return stop


@contextmanager
def stopping(stop: asyncio.Event) -> Iterator[None]:
    """The first signal sets `stop`, the second one cancels the calling task."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in _NUMBERS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)


def run_until_signal(work: Coroutine[Any, Any, int], *, stopped: int) -> int:
    """Run `work` to its end; a signal cancels it, and `stopped` is returned once it has ended."""

    async def run() -> int:
        task = asyncio.create_task(work)
        for number in _NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return stopped

    return asyncio.run(run())
