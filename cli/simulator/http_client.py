"""A small HTTP/1.1 client: kept connections, one request at a time on each.

Bluetick has its own client because benchmarks use it: a request costs 0.1 ms of CPU, but about 3 ms
with httpx, and a benchmark would then measure the client.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from cli.problem_sentences import CommandProblem

_ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}

# Addresses that listen everywhere, and the address that reaches such a listener.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here

# The errors of a connection during a request (`EOFError`: it was closed).
Broken = (OSError, EOFError, TimeoutError)


def url(host: str, port: int) -> str:
    """Return the URL of a listener on an address of this machine."""
    reachable = _EVERYWHERE.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class Endpoint(NamedTuple):
    """The destination of requests; `prefix` precedes every path."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def of(cls, url: str) -> "Endpoint":
        """Parse a URL such as `http://127.0.0.1:8080`; raises `Problem`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise CommandProblem(
                "url_invalid",
                "the URL {url!r} is not valid: {why}; correct it",
                url=url,
                why=str(error),
            ) from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise CommandProblem(
                "url_incomplete",
                "the URL {url!r} should look like http://127.0.0.1:8080",
                url=url,
            )
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or _PORTS[parts.scheme], tls, parts.path.rstrip("/"))


class Answer(NamedTuple):
    """A response's status, body and, in seconds, `Retry-After` (None if it has none in seconds)."""

    status: int
    body: bytes
    retry_after: float | None


class Connection:
    """One connection to an endpoint, opened on first use and after each failure."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send a request and read the answer; raises one of `Broken`, or `Problem`."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await self._open()
                writer.write(self._head(method, path, headers, len(body)) + body)
                await writer.drain()
                return await self._read(reader)
        except BaseException:
            self.close()  # half a request or answer is on it
            raise

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the open streams; new ones if the server has closed them."""
        if self._streams is not None and not self._streams[0].at_eof():
            return self._streams
        self.close()
        where = self._endpoint
        async with asyncio.timeout(_CONNECT_SECONDS):
            self._streams = await asyncio.open_connection(
                where.host, where.port, ssl=where.tls or None
            )
        return self._streams

    def _head(self, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        where = self._endpoint
        host = f"[{where.host}]" if ":" in where.host else where.host
        lines = [
            f"{method} {where.prefix}{_quoted(path)} HTTP/1.1",
            f"host: {host}:{where.port}",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"content-length: {length}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        status, headers = _parsed(head)
        length = headers.get("content-length", "")
        body = await reader.readexactly(int(length)) if length.isdecimal() else b""
        if not length.isdecimal() or headers.get("connection", "").lower() == "close":
            self.close()
        wait = headers.get("retry-after", "")
        return Answer(status, body, float(wait) if wait.isdecimal() else None)


async def get(url: str, path: str) -> Answer:
    """Send one GET, on a connection of its own; raises one of `Broken`, or `Problem`."""
    connection = Connection(Endpoint.of(url))
    try:
        return await connection.request("GET", path, {}, b"")
    finally:
        connection.close()


def _quoted(path: str) -> str:
    return quote(path, safe="/?&=%:@+,;!$'()*-._~")


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, rest = first.partition(" ")
    if not protocol.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise CommandProblem(
            "not_http", "the server that answers is not an HTTP server; check the URL"
        )
    pairs = (line.partition(":") for line in lines if line)
    return int(rest[:3]), {name.lower(): value.strip() for name, _, value in pairs}
