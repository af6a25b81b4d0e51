"""One HTTP connection of uvicorn, with what it lacks: bounds, order, and an exit.

uvicorn waits for ever for a head, takes one of any size, reads requests ahead of their turn, and
closes in a way that can lose the last answer. Here a connection holds one request at a time, cut
from the bytes before llhttp sees it: what follows a request never gets into its parsing.
"""

import asyncio
from collections.abc import Callable

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.connection_limits import Connections
from service.http.request_head import END, MAX_HEAD, BadHead, check_start, checked

# Between two requests. Balancers and clients should end an idle connection earlier than we do:
# whoever sends just when the other closes does not know whether the request was taken.
KEEP_ALIVE_SECONDS = 75.0

# A connection is closed only after its sender had so long to read the answer: closed with bytes
# still unread, TCP resets it, and the answer may be lost on the way.
LINGER_SECONDS = 1.0

# Chunk sizes, extensions and trailers are no body, and nobody counts them but we: so many bytes of
# them may come for each byte of the body (one chunk a byte is 5), beside what a head may have.
_WRAPPING = 8


class Exit:
    """What uvicorn takes for the transport: it ends ours first, and reads on for a moment.

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

    _kept = b""  # the start of a head, or what came before its turn
    _in_head = False
    _in_body = False
    _left: int | None = 0  # bytes of the body to come; None if it is chunked
    _wrapping = 0
    _tail = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An access log would print paths and queries, where some sources keep their secret.
        self.access_log = False
        # One that lingers makes room for another as one that is silent does.
        self._exit = Exit(transport, self.loop, lambda: self.known.wait(self))
        self.transport = self._exit  # type: ignore[assignment]
        self.known.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.known.forget(self)
        self._exit.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._exit.closing:
            self._take(self._kept + data if self._kept else data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stay open for the answer of a sender that has said all; True means that."""
        self._exit.heard_all = True
        return self._answering() and not self._in_body and not self._exit.closing

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._left = self._length()
        super().on_headers_complete()
        # Trailers come here too: discarded, whatever they say (RFC 9110, 6.5.1).
        self.headers = []
        # An answer that does not wait for the end of the body ends the connection.
        self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._wrapping -= (_WRAPPING + 1) * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if not self.flow.write_paused:
            self.known.forget(self)
        self.cycle.keep_alive = self._lasts()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Take the next request; there is none, and no timer of uvicorn's, once we are closing."""
        self.server_state.total_requests += 1
        if self._exit.closing:
            return
        self.known.wait(self)
        self.flow.resume_reading()
        if self._kept:
            self._take(self._kept)
        if self._exit.heard_all and not self._answering():
            self.transport.close()

    def pause_writing(self) -> None:
        """The sender does not read its answers: it keeps us waiting."""
        super().pause_writing()
        self.known.wait(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answering() and not self._in_body:
            self.known.forget(self)

    def shutdown(self) -> None:
        """Close once what has begun is answered; called when the server ends."""
        if self._answering():
            self.cycle.keep_alive = False
        elif not self._kept:
            self.transport.close()

    def overdue(self, age: float) -> None:
        """It keeps us waiting for so long, at least `seconds`. Bodies have a deadline elsewhere."""
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

    def _take(self, data: bytes) -> None:
        """Give the parser what it may have; keep what has to wait."""
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
        """Where to go on: behind the head, or the same place if it is not whole yet."""
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
        """Feed the parser no byte more than the body; where the body, or the data, ends."""
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
        """Where the body may end: behind its length or, if chunked, behind an empty line."""
        if self._left is not None:
            return min(at + self._left, len(data))
        seam = self._tail + data[at : at + 3]
        if (found := seam.find(END)) >= 0:
            return at + found + len(END) - len(self._tail)
        found = data.find(END, at)
        return len(data) if found < 0 else found + len(END)

    def _length(self) -> int | None:
        """How long the body is, by headers that llhttp found in order; None if it is chunked."""
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return None
        return 0

    def _lasts(self) -> bool:
        version = self.scope["http_version"]
        return version != "1.0" and self.parser.should_keep_alive() and not self.known.leaving

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int) -> None:
        """Answer what is no request, in place of the app; nothing more is read from here."""
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


def bounded(known: Connections) -> type[BoundedProtocol]:
    """The protocol class of one server; uvicorn makes the instances itself."""
    return type("Bounded", (BoundedProtocol,), {"known": known})
