"""Slow, silent or many senders: honest ones are still served."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from service.http import protocol
from tests.broker.http_bytes import Head, answers, chunks, connect, statuses
from tests.broker.running_ingest import Ingest, running, settings, stored

End = tuple[asyncio.StreamReader, asyncio.StreamWriter]

RECEIVE_SECONDS = 0.5
_POST = Head("/webhooks/whapi/slow")


@asynccontextmanager
async def _connected(port: int, count: int, start: bytes = b"") -> AsyncIterator[list[End]]:
    """Open connections that have sent `start` and nothing more."""
    ends = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            reader, writer = await connect(port)
            stack.callback(writer.transport.abort)
            writer.write(start)
            ends.append((reader, writer))
        yield ends


async def _trickle(ends: Iterable[End]) -> None:
    """Send a byte on each open connection, repeatedly."""
    while True:
        for _, writer in ends:
            writer.write(b"x")
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _trickling(ends: Iterable[End]) -> AsyncIterator[None]:
    task = asyncio.create_task(_trickle(ends))
    try:
        yield
    finally:
        task.cancel()


async def test_hostile_senders_do_not_affect_honest_ones(
    kafka: str, namespace: str, mark: str
) -> None:
    """With 2400 connections that idle or trickle, over the bound, every webhook gets its 200."""
    # A busy machine is not what is tested: no connection is closed because of the time it takes.
    given = settings(kafka, namespace, max_connections=1000, receive_deadline=300)
    async with running(given) as ingest:
        port = ingest.port
        async with (
            _connected(port, 200, _POST("content-length: 100000")) as bodies,
            _connected(port, 200, b"POST /webhooks/whapi HTTP/1.1\r\nhost: x\r\nx-a: ") as heads,
            _connected(port, 2000) as idle,
            _trickling([*heads, *bodies]),
        ):
            answered = []
            for number in range(100):
                path = f"/webhooks/whapi/{mark}/{number}"
                kept = await ingest.client.post(path, content=b"kept")
                new = await ingest.raw(f"POST {path} HTTP/1.1\nhost: x\nconnection: close\n\n")
                answered += [kept.status_code, *statuses(new)]
            assert answered == [200] * 200
            await asyncio.wait_for(asyncio.gather(*(r.read() for r, _ in idle[:1000])), 10)
            assert not idle[-1][0].at_eof()
        assert len(await stored(ingest, mark)) == 200


async def test_the_longest_idle_connection_is_closed_first(kafka: str, namespace: str) -> None:
    """Of three connections the one that has been silent longest is closed for a fourth."""
    async with (
        running(settings(kafka, namespace, max_connections=3)) as ingest,
        _connected(ingest.port, 1) as [(first, writer)],
        _connected(ingest.port, 1) as [(second, _)],
        _connected(ingest.port, 1, _POST("content-length: 2", body=b"a")) as [(third, half)],
    ):
        writer.write(_POST.sized(b"first"))
        assert (await first.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        async with _connected(ingest.port, 1, _POST.sized(b"fourth")) as [(fourth, _)]:
            assert (await fourth.readline()) == b"HTTP/1.1 200 OK\r\n"
            assert await second.read() == b""
            half.write(b"b")
            assert (await third.readline()) == b"HTTP/1.1 200 OK\r\n"
            writer.write(_POST.sized(b"again"))
            assert (await first.readline()) == b"HTTP/1.1 200 OK\r\n"


async def test_connections_after_a_refusal_are_closed_under_pressure(
    kafka: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections open after a refusal block no sender; without pressure none is closed."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 60.0)
    bad = b"GET  / HTTP/1.1\r\n\r\n"
    async with (
        running(settings(kafka, namespace, max_connections=3, publish_deadline=30)) as ingest,
        _connected(ingest.port, 3, bad) as ends,
    ):
        for reader, _ in ends:
            assert await reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        for _ in range(3):
            post = await ingest.raw("POST /webhooks/whapi HTTP/1.1\nhost: x\nconnection: close\n\n")
            assert statuses(post) == [200]


@pytest.mark.parametrize(
    "start",
    [b"POST /webhooks/whapi HTTP/1.1\r\nx-a: ", _POST("content-length: 90000"), b"POST /"],
    ids=["head", "body", "request line"],
)
async def test_a_trickling_sender_times_out(ingest: Ingest, start: bytes) -> None:
    """The deadline is for the whole request; single bytes do not extend it. The answer is 408."""
    async with _connected(ingest.port, 1, start) as ends, _trickling(ends):
        [answer] = answers(await asyncio.wait_for(ends[0][0].read(), 10))
        assert (answer.status, answer.last) == (408, True)


async def test_a_sender_of_trickling_chunks_times_out(ingest: Ingest) -> None:
    """The same for a body of unknown length."""
    async with _connected(ingest.port, 1, _POST.chunked(b"")) as [(reader, writer)]:
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(chunks(b"x")[:6])
            await asyncio.wait([reading], timeout=0.05)
        assert statuses(await reading) == [408]


async def test_a_sender_that_reads_no_answers_times_out(ingest: Ingest) -> None:
    """If a sender sends endless requests and reads no answers, its connection is closed."""
    with socket.socket() as mean:
        mean.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mean.setblocking(False)  # noqa: FBT003 - its only argument
        await asyncio.get_running_loop().sock_connect(mean, ("127.0.0.1", ingest.port))
        with pytest.raises(ConnectionError):
            await _ask_for_ever(mean)


async def _ask_for_ever(mean: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(mean, Head("/health/ready", "GET")() * 100)


async def test_a_refused_sender_receives_the_answer(ingest: Ingest) -> None:
    """The answer arrives although the sender continues to send an unread body."""
    for status, start in (
        (413, _POST("content-length: 99999999")),
        (404, Head("/webhooks/unknown")("content-length: 99999999")),
        (400, b"GET  / HTTP/1.1\r\n\r\n"),
    ):
        reader, writer = await connect(ingest.port)
        writer.write(start)
        with suppress(ConnectionError):
            for _ in range(100):
                writer.write(bytes(10_000))
                await writer.drain()
        assert statuses(await reader.read()) == [status]
        writer.close()
