"""What doctor learns from the health address of ingest."""

import asyncio
from pathlib import Path

import pytest

from cli.doctor.collect_ingest import ingest
from service.settings import Settings


@pytest.mark.parametrize("body", [b"Found", b"{}"])
async def test_another_program_at_the_address_is_no_failure(body: bytes, tmp_path: Path) -> None:
    """Its pages are neither a health page nor metrics."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted = await reader.readuntil(b"\r\n\r\n")
        page = body if b"/health/ready" in wanted else b"Found <html>"
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(page)
        writer.write(head + page)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await ingest(Settings(data=tmp_path, ingest_metrics_port=port))
    assert found.why == "another program answers there"
