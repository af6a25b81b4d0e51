"""SIGTERM and SIGINT (Ctrl-C): how a process stops."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Stop(asyncio.Event):
    """An event that is set when the process should stop; `reason` is the signal's name."""

    reason = "it ended by itself"

    def on(self, number: signal.Signals) -> None:
        self.reason = number.name
        self.set()


def stop_on_signals() -> Stop:
    """Return an event that both signals set, for the rest of the process."""
    stop = Stop()
    for number in _NUMBERS:
        asyncio.get_running_loop().add_signal_handler(number, stop.on, number)
    return stop


@contextmanager
def stopping(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first signal, and cancel the calling task at the second."""
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


def run_until_signal(work: Coroutine[Any, Any, int]) -> int | None:
    """Run `work` to its end and return its result; None if a signal cancelled it."""

    async def run() -> int | None:
        task = asyncio.create_task(work)
        for number in _NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    return asyncio.run(run())
