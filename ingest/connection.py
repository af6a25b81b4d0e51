"""One HTTP connection of uvicorn, with what it lacks for webhooks: bounds, and bodies kept whole.

uvicorn waits for ever for a request's first bytes and headers, and llhttp takes any number of
them, so slow or endless senders could use up all connections. And of a request that offers an
upgrade, as Java's HttpClient does with every one, httptools skips the body: it would be lost.
"""

import asyncio

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The largest request line with headers, in bytes; what arrives in one piece may exceed it.
MAX_HEAD = 64 * 1024

_UPGRADE = (b"connection", b"upgrade", b"http2-settings")


class BoundedProtocol(HttpToolsProtocol):
    """Closes the connection when a head takes longer than `seconds`, or is larger than MAX_HEAD."""

    seconds = 10.0

    _head_bytes = 0
    _waiting_since: float | None = None
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An access log would print paths and queries, where some sources keep their secret.
        self.access_log = False
        self._wait()
        self._alarm = self.loop.call_later(self.seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._alarm:
            self._alarm.cancel()

    def data_received(self, data: bytes) -> None:
        """Do what uvicorn does, except that an upgrade is declined and not the body."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._waiting_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        if not self._offers_upgrade():
            self._waiting_since = None
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _offers_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _decline(self, rest: bytes) -> None:
        """Read the request once more, without its offer (RFC 9110, 7.8: it may be ignored)."""
        closing = any(name == b"connection" and b"close" in value for name, value in self.headers)
        kept = [(name, value) for name, value in self.headers if name not in _UPGRADE]
        kept += [(b"connection", b"close")] if closing else []
        line = b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        head = b"".join(b"%s: %s\r\n" % header for header in kept)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(line + head + b"\r\n" + rest)

    def _wait(self) -> None:
        """From now on a head is due."""
        self._waiting_since = self.loop.time()
        self._head_bytes = 0

    def _check(self) -> None:
        """Close if overdue, else look again later: a timer for each connection, not request."""
        since = self._waiting_since
        overdue = since is not None and self.loop.time() - since >= self.seconds
        if overdue and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        else:
            self._alarm = self.loop.call_later(self.seconds / 2, self._check)


def bounded(seconds: float) -> type[BoundedProtocol]:
    """The protocol class with this bound; uvicorn makes the instances itself."""
    return type("Bounded", (BoundedProtocol,), {"seconds": seconds})
