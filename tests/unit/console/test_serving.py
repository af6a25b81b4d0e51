"""The public address of the console: slow, silent or many senders do not stop other viewers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from console.access import guard
from console.app import create_app
from console.pages import live
from console.read_model.database import Database
from console.serving import server_of
from service.settings import Settings
from tests.broker.http_bytes import Head, answers, connect, exchange, statuses

End = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_MOST = 12
_SECONDS = 0.5
_FORM = Head("/dead-letters/retries", host="host: localhost\r\n")
_HEAD = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-a: "
_STREAM = Head("/live", "GET", host="host: localhost\r\n")()


@asynccontextmanager
async def _serving(database: Database, directory: Path) -> AsyncIterator[int]:
    """Serve the console with few connections and short deadlines; yields its port."""
    settings = Settings(kafka="127.0.0.1:1", console_audit=directory / "audit.jsonl")
    app = create_app(settings, database)
    server = server_of(app, _MOST, _SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            await app.site.close()
            server.should_exit = True
            await serving


@pytest.fixture
async def port(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    monkeypatch.setattr(guard, "_FORM_SECONDS", _SECONDS)
    async with _serving(database, tmp_path) as port:
        yield port


@pytest.fixture
async def ends() -> AsyncIterator[list[End]]:
    """The connections of a test, closed at its end."""
    opened: list[End] = []
    yield opened
    for _, writer in opened:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for _, writer in opened), return_exceptions=True)


async def _opened(ends: list[End], port: int, count: int, start: bytes = b"") -> list[End]:
    """Open connections that have sent `start` and nothing more."""
    opened: list[End] = []
    for _ in range(count):
        reader, writer = await connect(port)
        writer.write(start)
        opened.append((reader, writer))
    ends += opened
    return opened


async def _page(port: int) -> int:
    """Return the status of a page for another viewer, on a new connection."""
    async with httpx.AsyncClient(trust_env=False) as viewer:
        return (await viewer.get(f"http://127.0.0.1:{port}/messages")).status_code


async def _trickled(ends: list[End]) -> list[int]:
    """Send a byte on each connection again and again; returns the statuses of the answers."""
    reading = [asyncio.create_task(reader.read()) for reader, _ in ends]
    while not all(one.done() for one in reading):
        for _, writer in ends:
            writer.write(b"x")
        await asyncio.wait(reading, timeout=0.05)
    return [answer.status for one in reading for answer in answers(await one)]


async def test_too_many_connections_do_not_stop_other_viewers(port: int, ends: list[End]) -> None:
    """Above the maximum the connection that has been silent for longest is closed."""
    await _opened(ends, port, _MOST // 2, _FORM("content-length: 100000"))
    await _opened(ends, port, _MOST // 2, _HEAD)
    idle = await _opened(ends, port, 4 * _MOST)
    assert [await _page(port) for _ in range(5)] == [200] * 5
    silent = [reader.read() for reader, _ in idle[: 2 * _MOST]]
    assert {await asyncio.wait_for(one, 30) for one in silent} == {b""}


@pytest.mark.parametrize(
    "start", [_HEAD, _FORM("content-length: 100000"), _FORM.chunked(b"fffff\r\n")]
)
async def test_a_slow_sender_times_out(port: int, ends: list[End], start: bytes) -> None:
    """Single bytes extend neither the deadline of a head nor that of a form."""
    slow = await _opened(ends, port, 2, start)
    assert await asyncio.wait_for(_trickled(slow), 30) == [408] * 2


async def test_a_form_is_bounded(port: int) -> None:
    """Without a declared length it is refused at the maximum, not stored."""
    wire = _FORM.chunked(b"%x\r\n" % 2**24)
    pieces = [wire, *[bytes(65_536)] * 17]
    assert statuses(await asyncio.wait_for(exchange(port, pieces), 30)) == [413]


async def test_streams_leave_connections_for_pages(
    database: Database, tmp_path: Path, ends: list[End], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream is never idle: their number has a maximum of its own."""
    monkeypatch.setattr(live, "_MOST_STREAMS", _MOST // 2)
    async with _serving(database, tmp_path) as port:
        streams = await _opened(ends, port, _MOST // 2 + 2, _STREAM)
        starts = [await asyncio.wait_for(reader.readline(), 30) for reader, _ in streams]
        assert sorted(int(one.split()[1]) for one in starts) == [200] * (_MOST // 2) + [503] * 2
        assert await _page(port) == 200
