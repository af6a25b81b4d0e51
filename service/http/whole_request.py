"""A request that arrived whole: its body came in the same bytes as its head.

Most webhooks do. Such a request can be answered without the task, the scope and the messages of
ASGI, which cost more than all else of an accepted webhook (decision 36).
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from service.http.protocol import BoundedProtocol

Take = Callable[["WholeRequest"], bool]
"""Takes a request and answers it later, or returns False: then the app answers it."""


class WholeRequest:
    """One request, and its answer: `accept`, or that of an app to which it is handed over.

    `url` is the target as sent, and `headers` have lower-case names. For its connection it stands
    in for uvicorn's cycle of a request and its response, and has the fields that are used.
    """

    __slots__ = (
        *("_connection", "body", "disconnected", "headers", "keep_alive", "method"),
        *("response_complete", "url"),
    )

    response_started = False
    message_event = asyncio.Event()  # no one waits for the rest of this request

    def __init__(self, connection: "BoundedProtocol", body: bytes, *, keep_alive: bool) -> None:
        self._connection = connection
        self.method: str = connection.parser.get_method().decode("ascii")
        self.url = connection.url
        self.headers = connection.request_headers
        self.body = body
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False

    @property
    def peer(self) -> str:
        """The address at the other end of the connection; empty if it is unknown."""
        client = self._connection.client
        return client[0] if client else ""

    def accept(self) -> None:
        """Answer 200 with an empty body, in the same bytes as uvicorn."""
        if self.disconnected:
            return
        connection = self._connection
        headers = tuple(connection.server_state.default_headers)
        connection.transport.write(_accepted(headers, self.keep_alive))
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def hand_over(self, app: ASGIApp) -> None:
        """Let an app answer, in a task. Its scope has no more than an answer needs."""
        connection = self._connection
        cycle = RequestResponseCycle(
            scope={"type": "http", "method": self.method},  # type: ignore[typeddict-item]
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self.keep_alive,
            on_response=connection.on_response_complete,
        )
        cycle.disconnected = self.disconnected
        connection.start(cycle, app)


@lru_cache(maxsize=4)  # uvicorn changes the header `date` once a second
def _accepted(headers: tuple[tuple[bytes, bytes], ...], keep_alive: bool) -> bytes:  # noqa: FBT001
    """Return the whole answer 200 with these headers of every answer."""
    given = [*headers, (b"content-length", b"0")]
    if not keep_alive:
        given.append((b"connection", b"close"))
    lines = [b"%s: %s\r\n" % header for header in given]
    return b"".join([STATUS_LINE[200], *lines, b"\r\n"])
