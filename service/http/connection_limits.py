"""All connections of a server: their maximum number, and which ones wait for their sender."""

import asyncio
from collections.abc import Callable, Sized
from typing import Protocol


class Connection(Protocol):
    """The interface of a connection; `service.http.protocol` implements it."""

    loop: asyncio.AbstractEventLoop

    @property
    def connections(self) -> Sized: ...

    def overdue(self, age: float) -> None: ...

    def evict(self) -> None: ...


class Connections:
    """The connections of one server: their maximum number, and which ones wait for their sender.

    A connection waits when its sender has to act: send a request, or read an answer. If there are
    too many, the one that has waited longest is closed, so idle connections cannot keep out new
    ones. `unreadable` receives the status of each answer to bytes that are not a request.
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
        """Add a connection; at the maximum, close the one that has waited longest."""
        self.wait(new)
        if len(new.connections) > self._most:
            next(iter(self._since)).evict()

    def wait(self, one: Connection) -> None:
        """Note that this connection waits for its sender from now on."""
        self._since.pop(one, None)
        self._since[one] = one.loop.time()
        if self._alarm is None:
            self._schedule_check(one.loop)

    def forget(self, one: Connection) -> None:
        """Note that this connection does not wait for its sender."""
        self._since.pop(one, None)

    def leave(self) -> None:
        """Close every connection after its next answer."""
        self.leaving = True

    def _schedule_check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = loop.call_later(min(1.0, self.seconds / 4), self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close overdue connections: one timer for all of them. They are in order of time."""
        now = loop.time()
        for one, since in list(self._since.items()):
            if now - since < self.seconds:
                break
            one.overdue(now - since)
        self._alarm = None
        if self._since:
            self._schedule_check(loop)
