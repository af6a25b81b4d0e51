"""Requests as bytes on a socket, split anywhere, and the parsing of the answers."""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

_SECONDS = 60
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass(frozen=True)
class Answer:
    """A status, its headers with lower-case names, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        return self.headers.get("connection") == "close"


@dataclass(frozen=True)
class Head:
    """A request line and headers, to which a body can be added."""

    target: str
    method: str = "POST"
    version: str = "1.1"
    host: str = "host: x\r\n"

    def __call__(self, *headers: str, body: bytes = b"") -> bytes:
        lines = "".join(f"{header}\r\n" for header in headers)
        first = f"{self.method} {self.target} HTTP/{self.version}\r\n"
        return f"{first}{self.host}{lines}\r\n".encode("latin-1") + body

    def sized(self, body: bytes, *headers: str) -> bytes:
        return self(f"content-length: {len(body)}", *headers, body=body)

    def chunked(self, wire: bytes, *headers: str) -> bytes:
        return self("transfer-encoding: chunked", *headers, body=wire)


def chunks(*pieces: bytes) -> bytes:
    """Return a complete chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def connect(
    port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection on which every write is a packet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer


async def exchange(
    port: int,
    pieces: Iterable[bytes],
    *,
    half_close: bool = False,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Send the pieces one by one; returns everything up to the server's close."""
    reader, writer = await connect(port, tls)
    reading = asyncio.create_task(reader.read())
    try:
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if half_close:
                writer.write_eof()
        return await asyncio.wait_for(reading, _SECONDS)
    finally:
        writer.close()


def answers(received: bytes) -> list[Answer]:
    """Parse all answers; fails on bytes that are not an answer."""
    found = []
    while received:
        head = _HEAD.match(received)
        assert head, received[:200]
        pairs = (line.split(b": ", 1) for line in head[2].split(b"\r\n") if line)
        headers = {name.decode().lower(): value.decode() for name, value in pairs}
        end = head.end() + int(headers.get("content-length", 0))
        assert end <= len(received)
        found.append(Answer(int(head[1]), headers, received[head.end() : end]))
        received = received[end:]
    return found


def statuses(received: bytes) -> list[int]:
    return [answer.status for answer in answers(received)]
