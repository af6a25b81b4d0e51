"""One HTTP connection of uvicorn, with bounds, request order and a safe close.

uvicorn waits without limit for a head, accepts one of any size, reads pipelined requests early, and
closes in a way that can lose the last answer. Here a connection holds one request at a time, cut
from the bytes before llhttp parses them: later bytes never affect the parsing of a request.
"""

import asyncio
from collections.abc import Callable

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.http.connection_limits import Connections
from service.http.request_head import END, MAX_HEAD, BadHead, check_start, checked
from service.http.whole_request import Take, WholeRequest

# Between two requests. Balancers and clients should close an idle connection earlier than ingest:
# a sender whose request crosses the close does not know whether the request was accepted.
KEEP_ALIVE_SECONDS = 75.0

# The sender's time to read the answer before the connection is closed: if bytes are still unread at
# the close, TCP resets the connection, and the answer may be lost.
LINGER_SECONDS = 1.0

# Chunk sizes, extensions and trailers are not part of the body, and only this class counts them:
# the maximum per byte of body (one chunk per byte is 5), in addition to the maximum of a head.
_WRAPPING = 8


class Exit:
    """The transport that uvicorn sees: its close ends the output, and reads input for a moment.

    `lingers` is called when that moment begins.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        lingers: Callable[[], None],
    ) -> None:
        self.write: Callable[[bytes], None] = transport.write
        self.abort = transport.abort
        self.closing = False
        self.heard_all = False
        self._transport = transport
        self._loop = loop
        self._lingers = lingers
        self._alarm: asyncio.TimerHandle | None = None

    def is_closing(self) -> bool:
        return self.closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self.closing = True
        if self.heard_all:
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._alarm = self._loop.call_later(LINGER_SECONDS, self._transport.abort)
        self._lingers()

    def lost(self) -> None:
        self.closing = True
        if self._alarm:
            self._alarm.cancel()


class BoundedProtocol(HttpToolsProtocol):
    """One connection: a head, its body, the answer, and again. `bounded` makes the class."""

    known: Connections
    take: Take | None

    request_headers: list[tuple[bytes, bytes]]

    _kept = b""  # the start of a head, or bytes of a later request
    _in_head = False
    _in_body = False
    _whole = False  # the body came with the head: the request waits for its end to be taken
    _there = 0  # bytes that came with the head
    _left: int | None = 0  # bytes of the body to come; None if it is chunked
    _wrapping = 0
    _tail = b""
    _body_there = b""  # the body of a whole request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An access log would print paths and queries, where some sources keep their secret.
        self.access_log = False
        # Like an idle connection, a lingering one is closed when a new one needs its place.
        self._exit = Exit(transport, self.loop, lambda: self.known.wait(self))
        self.transport = self._exit  # type: ignore[assignment]
        self.known.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.known.forget(self)
        self._exit.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._exit.closing:
            self._feed(self._kept + data if self._kept else data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return True: stay open for the answer after the sender has closed its side."""
        self._exit.heard_all = True
        return self._answering() and not self._in_body and not self._exit.closing

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._left = self._length()
        # Trailers arrive here too, and are discarded (RFC 9110, 6.5.1).
        self.request_headers, self.headers = self.headers, []
        self._whole = self._can_be_taken()
        if not self._whole:
            self._start_app()

    def on_body(self, body: bytes) -> None:
        if self._whole:
            self._body_there = body
            return
        self._wrapping -= (_WRAPPING + 1) * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if not self.flow.write_paused:
            self.known.forget(self)
        if self._whole and self._taken():
            return
        self.cycle.keep_alive = self._lasts()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Read the next request; when closing there is none, and no timer of uvicorn's."""
        self.server_state.total_requests += 1
        if self._exit.closing:
            return
        self.known.wait(self)
        self.flow.resume_reading()
        if self._kept:
            self._feed(self._kept)
        if self._exit.heard_all and not self._answering():
            self.transport.close()

    def pause_writing(self) -> None:
        """The sender does not read its answers: the connection waits."""
        super().pause_writing()
        self.known.wait(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answering() and not self._in_body:
            self.known.forget(self)

    def shutdown(self) -> None:
        """Close once the current request is answered; called when the server ends."""
        if self._answering():
            self.cycle.keep_alive = False
        elif not self._kept:
            self.transport.close()

    def overdue(self, age: float) -> None:
        """Close a connection that has waited `age` seconds. Bodies have a deadline elsewhere."""
        if self._exit.closing:
            return
        if self.flow.write_paused:
            self.transport.abort()
        elif self._in_body:
            return
        elif self._kept:
            self._refuse(408)
        elif self.cycle is None or age >= KEEP_ALIVE_SECONDS:
            self.transport.close()

    def evict(self) -> None:
        """Make room for another connection, at once."""
        self.known.forget(self)
        self.connections.discard(self)
        self.transport.abort()

    def _feed(self, data: bytes) -> None:
        """Pass the bytes of the current request to the parser; keep the rest."""
        at = 0
        try:
            while at < len(data) and not self._exit.closing:
                if self._in_body:
                    at = self._body(data, at)
                elif self._answering():
                    self.flow.pause_reading()
                    break
                elif (after := self._head(data, at)) > at:
                    at = after
                else:
                    break
            self._kept = data[at:]
        except BadHead as bad:
            self._refuse(bad.status)
        except httptools.HttpParserError:
            self._refuse(400)

    def _head(self, data: bytes, at: int) -> int:
        """Return where to continue: after the head, or at the same position if it is incomplete."""
        while data.startswith(b"\r\n", at):  # RFC 9112, 2.2: from senders that end with one
            at += 2
        end = data.find(END, at)
        if end < 0:
            self._wait_for_head(data[at:])
            return at
        head = checked(data[at : end + len(END)])
        self._in_head = True
        self._wrapping = -MAX_HEAD
        self._tail = b""
        self._there = len(data) - end - len(END)
        self.parser.feed_data(head)
        if self._in_head:
            raise BadHead(400)
        if self._in_body:
            self.known.wait(self)
        return end + len(END)

    def _wait_for_head(self, start: bytes) -> None:
        if start:
            check_start(start)
            if not self._kept:
                self.known.wait(self)

    def _body(self, data: bytes, at: int) -> int:
        """Pass only bytes of the body to the parser; return where the body, or the data, ends."""
        end = self._end(data, at)
        piece = data[at:end]
        if self._left is None:
            self._tail = (self._tail + piece)[-3:]
            self._wrapping += len(piece)
        else:
            self._left -= len(piece)
        self.parser.feed_data(piece)
        if self._wrapping > 0 or (self._left == 0 and self._in_body):
            raise BadHead(400)
        return end

    def _end(self, data: bytes, at: int) -> int:
        """Return where the body may end: after its length or, if chunked, after an empty line."""
        if self._left is not None:
            return min(at + self._left, len(data))
        seam = self._tail + data[at : at + 3]
        if (found := seam.find(END)) >= 0:
            return at + found + len(END) - len(self._tail)
        found = data.find(END, at)
        return len(data) if found < 0 else found + len(END)

    def _length(self) -> int | None:
        """Return the body's length, from headers that llhttp accepted; None if it is chunked."""
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return None
        return 0

    def _can_be_taken(self) -> bool:
        return (
            self.take is not None
            and self._left is not None
            and self._left <= self._there
            and not self.expect_100_continue
            and not self.flow.write_paused
        )

    def _taken(self) -> bool:
        """Offer a whole request to `take`; start the app with its body if that refuses it."""
        self._whole = False
        body, self._body_there = self._body_there, b""
        request = WholeRequest(self, body, keep_alive=self._lasts())
        if self.take is not None and self.take(request):
            self.cycle = request  # type: ignore[assignment]
            return True
        self._start_app()
        super().on_body(body)
        return False

    def start(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:
        """Start another app than the usual one on a request."""
        self.cycle = cycle
        self._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def _start_app(self) -> None:
        """Start the app on a request, as uvicorn does once it has the head."""
        url, expects = self.url, self.expect_100_continue
        super().on_message_begin()  # makes the scope, with empty headers
        self.url, self.expect_100_continue = url, expects
        self.headers += self.request_headers
        super().on_headers_complete()
        self.headers = []
        # An answer that does not wait for the end of the body ends the connection.
        self.cycle.keep_alive = False

    def _lasts(self) -> bool:
        version = self.parser.get_http_version()
        return version != "1.0" and self.parser.should_keep_alive() and not self.known.leaving

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int) -> None:
        """Answer bytes that are not a request, without the app; nothing more is read."""
        self.known.forget(self)
        if self._answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            self.known.unreadable(status)
        if not (self._answering() and self.cycle.response_started):
            self.transport.write(
                STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()


def bounded(known: Connections, take: Take | None = None) -> type[BoundedProtocol]:
    """The protocol class of one server; uvicorn makes the instances itself.

    `take` is offered the requests that arrive whole; without it, the app answers all of them.
    """
    given = {"known": known, "take": staticmethod(take) if take else None}
    return type("Bounded", (BoundedProtocol,), given)
