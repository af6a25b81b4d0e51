"""Long work on the event loop: pauses by the clock, turns of many tasks, a budget of CPU time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from providers.pausable_work import Steps
from providers.rejection import Refused

T = TypeVar("T")

# The longest time without a pause: the loop's other work, for example heartbeats, waits for it.
_STRETCH_SECONDS = 0.02


class Turn:
    """The turn of one task, while it holds the lock of all."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._held = False

    async def begin(self) -> None:
        """Wait for the turn."""
        await self._lock.acquire()
        self._held = True

    async def pause(self) -> None:
        """Let the event loop and the other tasks run, then wait for the next turn."""
        self.end()
        await asyncio.sleep(0)
        await self.begin()

    def end(self) -> None:
        """Give the turn to the next task, in the next iteration of the event loop."""
        if self._held:
            self._held = False
            asyncio.get_running_loop().call_soon(self._lock.release)


class Turns:
    """Turns of tasks that compute: one in an iteration of the event loop, in order.

    Otherwise the loop's other work would wait for the tasks of all partitions one after another.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Turn]:
        """Wait for a turn, and end it with the context."""
        turn = Turn(self._lock)
        await turn.begin()
        try:
            yield turn
        finally:
            turn.end()


class Pace:
    """Decides when work yields to the other tasks of the event loop."""

    def __init__(self) -> None:
        self._due = 0.0
        self._since = 0.0

    def due(self) -> bool:
        """Whether it is time to `pause`."""
        return time.monotonic() >= self._due

    async def pause(self) -> None:
        """Let other tasks run."""
        await asyncio.sleep(0)
        self._restart()

    async def within(self, steps: Steps[T], seconds: float) -> T:
        """Run all steps, with pauses; raise `Refused` if they use more CPU time than `seconds`.

        CPU time is that of this thread. Other tasks' time in the pauses does not count. Work since
        the last pause does, at most 20 ms: measuring it exactly costs more than a small body.
        """
        if self.due():
            self._restart()
        began, spent = time.monotonic(), 0.0
        while True:
            try:
                next(steps)
                result = None
            except StopIteration as end:
                result = end
            now = time.monotonic()
            # Reading the clock is cheaper than reading the CPU time, and never behind it.
            if now - began > seconds and spent + time.thread_time() - self._since > seconds:
                steps.close()
                raise _too_costly(seconds)
            if result is not None:
                value: T = result.value
                return value
            if now >= self._due:
                spent += time.thread_time() - self._since
                await self.pause()

    def _restart(self) -> None:
        self._due = time.monotonic() + _STRETCH_SECONDS
        self._since = time.thread_time()


def _too_costly(seconds: float) -> Refused:
    spent = f"more than {1000 * seconds:.0f} ms of the processor's time"
    return Refused("too_costly", f"normalising it takes {spent}; retrying it has no such bound")
