"""Reads the bodies of a server's requests: each in bounded time and size, all in bounded memory."""

import asyncio
from contextlib import suppress
from typing import Literal

from starlette.types import Message, Receive

Cause = Literal["too-slow", "too-large", "overloaded"]


class RefusedBody(Exception):
    """A body is not read to its end: `cause` is the bound that it passed."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


class Disconnected(Exception):
    """The sender disconnected before its body was complete."""


class Bodies:
    """Reads bodies of at most `most` bytes, each within `seconds`.

    The bodies that are not complete have at most `most_held` bytes together.
    """

    def __init__(self, most: int, most_held: int, seconds: float) -> None:
        self.held = 0
        self._most = most
        self._most_held = most_held
        self._seconds = seconds
        self._reading: set[asyncio.Timeout] = set()

    async def read(self, receive: Receive) -> bytes:
        """Return the whole body; raises `RefusedBody` or `Disconnected`."""
        timeout = asyncio.timeout(self._seconds)
        self._reading.add(timeout)
        try:
            async with timeout:
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    return self._bounded(message)
                return await self._remaining(message, receive)
        except TimeoutError:
            raise RefusedBody("too-slow") from None
        finally:
            self._reading.discard(timeout)

    def hurry(self, seconds: float) -> None:
        """Leave the bodies in progress at most this time."""
        soon = asyncio.get_running_loop().time() + seconds
        for timeout in self._reading:
            with suppress(RuntimeError):  # the timeout has ended already
                timeout.reschedule(min(soon, timeout.when() or soon))

    def _bounded(self, message: Message) -> bytes:
        body = bytes(message.get("body", b""))
        if len(body) > self._most:
            raise RefusedBody("too-large")
        return body

    async def _remaining(self, message: Message, receive: Receive) -> bytes:
        """Read the remaining pieces of a body."""
        body = bytearray()
        try:
            while True:
                if message["type"] != "http.request":
                    raise Disconnected
                piece = message.get("body", b"")
                self.held += len(piece)
                body += piece
                if len(body) > self._most:
                    raise RefusedBody("too-large")
                if self.held > self._most_held:
                    raise RefusedBody("overloaded")
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
        finally:
            self.held -= len(body)
