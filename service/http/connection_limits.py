"""All connections of a server: how many there may be, and which keep us waiting."""

import asyncio
from collections.abc import Callable, Sized
from typing import Protocol


class Connection(Protocol):
    """What a connection can be asked: `service.http.protocol` has it."""

    loop: asyncio.AbstractEventLoop

    @property
    def connections(self) -> Sized: ...

    def overdue(self, age: float) -> None: ...

    def evict(self) -> None: ...


class Connections:
    """The connections of one server: how many there may be, and which keep us waiting.

    A connection waits when its sender has to do something: send a request, or read an answer. The
    one that has waited longest goes first when there are too many, so idle connections cannot
    keep anybody out. `unreadable` takes the status of each answer to what is no request.
    """

    def __init__(
        self, seconds: float, most: int, unreadable: Callable[[int], None] = lambda _: None
    ) -> None:
        self.seconds = seconds
        self.leaving = False
        self.unreadable = unreadable
        self._most = most
        self._since: dict[Connection, float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def admit(self, new: Connection) -> None:
        """Let a connection in, if need be in place of another."""
        self.wait(new)
        if len(new.connections) > self._most:
            next(iter(self._since)).evict()

    def wait(self, one: Connection) -> None:
        """From now on this one keeps us waiting."""
        self._since.pop(one, None)
        self._since[one] = one.loop.time()
        if self._alarm is None:
            self._look_later(one.loop)

    def forget(self, one: Connection) -> None:
        """It does not, or not any more."""
        self._since.pop(one, None)

    def leave(self) -> None:
        """From now on every answer is the last one on its connection."""
        self.leaving = True

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = loop.call_later(min(1.0, self.seconds / 4), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what is overdue: one timer for all connections. They lie in order of time."""
        now = loop.time()
        for one, since in list(self._since.items()):
            if now - since < self.seconds:
                break
            one.overdue(now - since)
        self._alarm = None
        if self._since:
            self._look_later(loop)
