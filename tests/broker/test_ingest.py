"""Ingest on a real socket with a real Kafka: the answers, and the records stored."""

import asyncio
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest

from schemas.topics import MAX_BODY
from tests.broker.running_ingest import Ingest, stored

RECEIVE_SECONDS = 1.0


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", bytes(range(256)), b"\xff\xfe\x00", b'{"a":1}\r\n\r\n', os.urandom(200_000)],
    ids=["empty", "object", "all bytes", "no text", "line ends", "large"],
)
async def test_the_body_is_on_the_raw_topic_byte_for_byte(
    ingest: Ingest, mark: str, body: bytes
) -> None:
    """After an empty 200, the record's value is exactly the body that was sent."""
    answer = await ingest.client.post(f"/webhooks/whapi/{mark}", content=body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert [record.value for record in await stored(ingest, mark)] == [body]


async def test_a_chunked_body_is_assembled(ingest: Ingest, mark: str) -> None:
    """A body sent in chunks is stored as one."""

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"%d" % number * 3000

    sent = b"".join([chunk async for chunk in chunks()])
    answer = await ingest.client.post(f"/webhooks/whapi/{mark}", content=chunks())
    assert answer.status_code == 200
    assert [record.value for record in await stored(ingest, mark)] == [sent]


async def test_the_record_has_request_and_time(ingest: Ingest, mark: str) -> None:
    """CloudEvents headers, method, path as sent and listed headers; no other headers."""
    before = time.time_ns() // 1_000_000
    answer = await ingest.client.put(
        f"/webhooks/smsmanager/{mark}/a%2Fb?c=%20d",
        content=b"[]",
        headers={
            "content-type": "application/json; charset=utf-8",
            "x-request-id": "r-1",
            "user-agent": "tests",
            "authorization": "Bearer secret",
        },
    )
    after = time.time_ns() // 1_000_000
    [record] = await stored(ingest, mark, "smsmanager")
    assert answer.status_code == 200
    assert before <= record.timestamp <= after
    headers = {name: value.decode() for name, value in record.headers.items()}
    received = datetime.fromisoformat(headers.pop("ce_time"))
    assert round(received.timestamp() * 1000) == record.timestamp
    assert len(headers.pop("ce_id")) == 32
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/webhooks/smsmanager",
        "ce_type": "bluetick.webhook.received",
        "content-type": "application/json; charset=utf-8",
        "http-method": "PUT",
        "http-path": f"/{mark}/a%2Fb?c=%20d",
        "x-request-id": "r-1",
        "user-agent": "tests",
    }


async def test_concurrent_webhooks_are_each_stored_once(ingest: Ingest, mark: str) -> None:
    """Each of 500 concurrent webhooks gets its 200 and is stored once, under its own id."""
    head = (
        f"POST /webhooks/whapi/{mark} HTTP/1.1\nhost: x\nconnection: close\ncontent-length: 3\n\n"
    )
    answers = await asyncio.gather(*(ingest.raw(head, b"%03d" % number) for number in range(500)))
    assert Counter(answer.split(b"\r\n")[0] for answer in answers) == {b"HTTP/1.1 200 OK": 500}
    records = await stored(ingest, mark)
    assert sorted(int(record.value) for record in records) == list(range(500))
    assert len({record.headers["ce_id"] for record in records}) == 500


async def test_batches_go_to_all_partitions_in_order(ingest: Ingest, mark: str) -> None:
    """Webhooks one after the other go to one partition after the other."""
    for number in range(12):
        await ingest.client.post(f"/webhooks/whapi/{mark}", content=b"%d" % number)
    used = Counter(record.partition for record in await stored(ingest, mark))
    assert used == dict.fromkeys(range(6), 2)


async def test_a_body_of_the_largest_size_is_accepted(ingest: Ingest, mark: str) -> None:
    """900 KiB that cannot be compressed still fit the broker's largest message."""
    body = os.urandom(MAX_BODY)
    answer = await ingest.client.post(f"/webhooks/whapi/{mark}", content=body)
    assert answer.status_code == 200
    assert [record.value for record in await stored(ingest, mark)] == [body]


async def test_a_too_large_declared_body_is_refused_unread(ingest: Ingest) -> None:
    """413 comes before the body, and the connection is closed."""
    answer = await ingest.raw(
        f"POST /webhooks/whapi HTTP/1.1\nhost: x\ncontent-length: {MAX_BODY + 1}\n\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


async def test_a_too_large_chunked_body_is_refused(ingest: Ingest, mark: str) -> None:
    """413 and a closed connection as soon as the largest size is passed."""
    head = f"POST /webhooks/whapi/{mark} HTTP/1.1\nhost: x\ntransfer-encoding: chunked\n\n"
    chunk = b"%x\r\n%s\r\n" % (MAX_BODY + 1, b"x" * (MAX_BODY + 1))
    answer = await ingest.raw(head, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert await stored(ingest, mark) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/unknown", 404),
        ("POST", "/webhooks/", 404),
        ("POST", "/webhooks", 404),
        ("POST", "/webhooks%2Fwhapi", 404),
        ("POST", "/webhooks/%77hapi", 404),
        ("POST", "/other", 404),
        ("GET", "/webhooks/whapi", 405),
        ("HEAD", "/webhooks/whapi", 405),
        ("OPTIONS", "/webhooks/whapi", 405),
    ],
)
async def test_requests_that_are_no_webhooks(
    ingest: Ingest, method: str, path: str, status: int
) -> None:
    """Unknown sources and methods are refused with an empty answer, never redirected."""
    answer = await ingest.client.request(method, path)
    assert answer.status_code == status
    assert "server" not in answer.headers
    if status == 405:
        assert (answer.headers["allow"], answer.content) == ("POST, PUT, PATCH, DELETE", b"")


async def test_a_stalled_body_times_out(ingest: Ingest, mark: str) -> None:
    """A sender that stops half way gets 408, and nothing is stored."""
    head = f"POST /webhooks/whapi/{mark} HTTP/1.1\nhost: x\n"
    answers = await asyncio.gather(
        ingest.raw(f"{head}content-length: 10\n\n", b"hello"),
        ingest.raw(f"{head}content-length: 10\n\n"),
        ingest.raw(f"{head}transfer-encoding: chunked\n\n", b"5\r\nhello\r\n"),
    )
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert all(b"connection: close" in answer for answer in answers)
    assert await stored(ingest, mark) == []


async def test_a_stalled_head_times_out(ingest: Ingest) -> None:
    """A connection without a request is closed without an answer, a partial head with 408."""
    heads = ["", "\n\n", "POST /webhooks/whapi HTTP/1.1\nhost: x\nx-slow: "]
    answers = await asyncio.gather(*(ingest.raw(head) for head in heads))
    assert answers[:2] == [b"", b""]
    assert answers[2].startswith(b"HTTP/1.1 408 ")


async def test_an_endless_head_is_refused(ingest: Ingest) -> None:
    """Endless headers are not collected: 431 comes before all of them are sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(b"POST /webhooks/whapi HTTP/1.1\r\nhost: x\r\n")
    writer.write(b"x-more: %s\r\n" % (b"x" * 4096) * 20)
    assert await reader.readline() == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    writer.close()


async def test_two_webhooks_on_one_connection(ingest: Ingest, mark: str) -> None:
    """Pipelined requests are both answered and both stored, in order on their connection."""
    head = f"POST /webhooks/whapi/{mark} HTTP/1.1\nhost: x\ncontent-length: 3\n"
    both = f"{head}\none{head}connection: close\n\ntwo"
    assert (await ingest.raw(both)).count(b"HTTP/1.1 200 ") == 2
    assert sorted(record.value for record in await stored(ingest, mark)) == [b"one", b"two"]


async def test_an_offered_upgrade_to_http_2_is_ignored(ingest: Ingest, mark: str) -> None:
    """Java's HttpClient offers an upgrade with every request; its body is accepted."""
    answer = await ingest.raw(
        f"POST /webhooks/whapi/{mark} HTTP/1.1\nhost: x\ncontent-length: 3\n"
        "connection: upgrade, http2-settings, close\nupgrade: h2c\nhttp2-settings: AAM\n\none"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [record.value for record in await stored(ingest, mark)] == [b"one"]


async def test_a_disconnected_sender_is_not_logged(
    ingest: Ingest, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection lost within a body stores nothing, and no line is logged."""
    await ingest.client.get("/health/live")
    caplog.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    writer.write(b"POST /webhooks/whapi/%s HTTP/1.1\r\nhost: x\r\n" % mark.encode())
    writer.write(b"content-length: 900000\r\n\r\nhalf")
    await writer.drain()
    writer.transport.abort()
    assert (await ingest.client.post(f"/webhooks/whapi/{mark}", content=b"whole")).is_success
    assert [record.value for record in await stored(ingest, mark)] == [b"whole"]
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_nothing_of_a_webhook_is_logged(
    ingest: Ingest, mark: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    """The log contains no body, path, query or header, even at DEBUG."""
    canary = secrets.token_hex(8)
    async with httpx.AsyncClient() as client:
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        for path in (f"whapi/{canary}{mark}?{canary}", f"unknown/{canary}"):
            await client.post(
                f"http://127.0.0.1:{ingest.port}/webhooks/{path}",
                content=canary,
                headers={"x-request-id": canary, "authorization": canary},
            )
    assert len(await stored(ingest, mark)) == 1
    everything_logged.handler.flush()
    assert canary not in everything_logged.text
    assert logging.getLogger("aiokafka.conn").getEffectiveLevel() >= logging.INFO


async def test_it_is_live_and_ready(ingest: Ingest) -> None:
    """All health pages are good while Kafka answers and the topics are correct."""
    assert (await ingest.client.get("/health/live")).status_code == 200
    public = await ingest.client.get("/health/ready")
    assert (public.status_code, public.json()) == (200, {"ready": True})
    started = await ingest.client.get("/health/started")
    assert (started.status_code, started.json()) == (200, {"started": True})
    assert (await ingest.client.get("/metrics")).status_code == 404, "metrics are private"
    assert await ingest.health() == {
        "ready": True,
        "problems": [],
        "degraded": False,
        "warnings": [],
        "spool": None,
    }
    assert await ingest.ready() == (200, [])
