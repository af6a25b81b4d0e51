"""The metrics of ingest: the counters add up, with one process and with several."""

import asyncio
import os
import re
import signal
from collections import Counter
from pathlib import Path

import httpx
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local_kafka.broker import free_port
from ingest import metrics
from service.settings import Settings
from tests.broker.http_bytes import Head, connect
from tests.broker.running_ingest import running, settings, until
from tests.e2e.commands import command

_COUNTED = ("received", "accepted", "rejected")


def _counts(text: str) -> Counter[tuple[str, ...]]:
    """Return every counter and the in-flight gauge: name and label values to value."""
    return Counter(
        {
            (sample.name.removeprefix("bluetick_ingest_"), *sample.labels.values()): int(
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("bluetick_ingest_")  # not the CPU seconds of the process
            and sample.name.endswith(("_total", "ingest_in_flight", "_seconds_count"))
        }
    )


def _sums(counts: Counter[tuple[str, ...]]) -> tuple[int, int, int]:
    """Return the totals of received, accepted and rejected."""
    received, accepted, rejected = (
        sum(count for name, count in counts.items() if name[0] == f"{kind}_total")
        for kind in _COUNTED
    )
    return received, accepted, rejected


def _since(before: Counter[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    after = _counts(generate_latest(metrics.registry).decode())
    after.subtract(before)
    return Counter({name: count for name, count in after.items() if count})


async def test_received_requests_add_up(kafka: str, namespace: str) -> None:
    """Each request counts once as received, and once as its outcome."""
    before = _counts(generate_latest(metrics.registry).decode())
    async with running(settings(kafka, namespace, max_body=100)) as ingest:
        client = ingest.client
        for _ in range(3):
            assert (await client.post("/webhooks/whapi", content=b"{}")).status_code == 200
        assert (await client.post("/webhooks/smsmanager", content=b"{}")).status_code == 200
        assert (await client.get("/webhooks/whapi")).status_code == 405
        assert (await client.post("/webhooks/unknown", content=b"{}")).status_code == 404
        assert (await client.post("/webhooks/whapi", content=b"x" * 101)).status_code == 413
        assert b" 400 " in await ingest.raw("POST / HTTP/1.1\nHost : x\n\n")
        _reader, writer = await connect(ingest.port)
        writer.write(Head("/webhooks/whapi")("content-length: 50", body=b"half a body"))

        async def held() -> bool:
            return _since(before)["in_flight",] == 1

        await until(held)
        received, accepted, rejected = _sums(_since(before))
        assert received == accepted + rejected + 1 == 9
        writer.close()

        async def gone() -> bool:
            return _since(before)["in_flight",] == 0

        await until(gone)
    assert _since(before) == {
        ("received_total", "whapi"): 6,
        ("received_total", "smsmanager"): 1,
        ("received_total", "-"): 2,
        ("accepted_total", "kafka", "whapi"): 3,
        ("accepted_total", "kafka", "smsmanager"): 1,
        ("rejected_total", "method", "whapi"): 1,
        ("rejected_total", "too-large", "whapi"): 1,
        ("rejected_total", "disconnected", "whapi"): 1,
        ("rejected_total", "unknown-source", "-"): 1,
        ("rejected_total", "malformed", "-"): 1,
        ("publish_seconds_count", "kafka"): 4,
        ("request_seconds_count",): 7,
        ("responses_total", "200"): 4,
        ("responses_total", "400"): 1,
        ("responses_total", "404"): 1,
        ("responses_total", "405"): 1,
        ("responses_total", "413"): 1,
    }


async def test_spooled_bodies_are_counted(namespace: str, tmp_path: Path) -> None:
    """Spooled bodies count as such; the spool's bytes and age are shown."""
    before = _counts(generate_latest(metrics.registry).decode())
    away = settings(f"127.0.0.1:{free_port(0)}", namespace, spool=tmp_path)
    async with running(away, create=False) as ingest:
        for _ in range(2):
            answer = await ingest.client.post("/webhooks/whapi", content=b"x" * 1000)
            assert answer.status_code == 200
        assert _since(before)["accepted_total", "spool", "whapi"] == 2

        async def shown() -> bool:
            text = generate_latest(metrics.registry).decode()
            [size] = re.findall(r"^bluetick_ingest_spool_bytes (.*)$", text, re.MULTILINE)
            [age] = re.findall(
                r"^bluetick_ingest_spool_oldest_age_seconds (.*)$", text, re.MULTILINE
            )
            return "bluetick_ingest_spool_bodies 2.0" in text and (
                float(size) >= 2000 and float(age) > 0
            )

        await until(shown)


async def test_workers_count_together(settings: Settings) -> None:
    """With several workers one page has the sums, even after one of them has died."""
    port, page = free_port(0), free_port(0)
    environment = {
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PARTITIONS": str(settings.partitions),
        "BLUETICK_PORT": str(port),
        "BLUETICK_INGEST_METRICS_PORT": str(page),
        "BLUETICK_DRAIN": "0",
    }
    async with (
        command("ingest", "--workers", "2", **environment) as ingest,
        httpx.AsyncClient(timeout=60) as client,
    ):
        saying = asyncio.create_task(ingest.ended())

        async def ready() -> bool:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success
            except httpx.TransportError:
                return False

        async def post(times: int) -> None:
            for _ in range(times):
                close = {"connection": "close"}
                url = f"http://127.0.0.1:{port}/webhooks/whapi"
                assert (await client.post(url, headers=close, content=b"{}")).status_code == 200

        async def sums() -> tuple[int, int, int]:
            return _sums(_counts((await client.get(f"http://127.0.0.1:{page}/metrics")).text))

        await until(ready)
        await post(20)
        assert await sums() == (20, 20, 0)
        _kill_a_worker(str(port))
        await until(ready)
        await post(20)
        assert await sums() == (40, 40, 0)
        ingest.interrupt()
        assert await saying == 0


def _kill_a_worker(mark: str) -> None:
    """Kill one of the processes that were started with this port and an inherited socket."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            process = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
        except OSError:  # the process has ended
            continue
        if f"BLUETICK_PORT={mark}".encode() in process[0] and b"--inherited" in process[1]:
            os.kill(int(folder.name), signal.SIGKILL)
            return
    raise AssertionError("there is no worker")
