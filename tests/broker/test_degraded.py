"""Degraded ingest: its log has start and reason of spooling, its health page the fill level."""

import json
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from service.settings import Settings
from tests.broker.running_ingest import Ingest, largest, running, settings, stored, until
from tests.e2e.commands import command

MIB = 1024 * 1024


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """Return a broker for the long tests of this module, which end it."""
    async with LocalKafka(tmp_path_factory.mktemp("own"), free_port(0)) as kafka:
        yield kafka


@pytest.fixture(autouse=True)
def _all_that_ingest_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ingest")


def _settings(kafka: str, namespace: str, tmp_path: Path, **others: object) -> Settings:
    quick = {"publish_deadline": 0.7} | others
    return settings(kafka, namespace, spool=tmp_path / "spool", **quick)


async def _post(ingest: Ingest, body: bytes = b"x") -> int:
    return (await ingest.client.post("/webhooks/whapi/m", content=body)).status_code


async def _logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async def there() -> bool:
        return words in caplog.text

    await until(there)


async def _healthy(ingest: Ingest) -> None:
    async def healthy() -> bool:
        page = await ingest.health()
        return page["ready"] and not page["degraded"]

    await until(healthy)


async def test_an_outage_is_logged_and_shown_from_start_to_end(
    freezable: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has reason, remaining bodies and end of spooling; ingest is ready throughout."""
    async with running(_settings(freezable.bootstrap, namespace, tmp_path)) as ingest:
        await _healthy(ingest)
        freezable.pause()
        try:
            assert {await _post(ingest, secrets.token_bytes(1000)) for _ in range(5)} == {200}
            await _logged(
                caplog, f"webhooks go to the spool: Kafka does not answer at {freezable.bootstrap}"
            )
            page = await ingest.health()
            public = await ingest.client.get("/health/ready")
        finally:
            freezable.resume()
        await _logged(caplog, "the spool is empty again")
        await _healthy(ingest)
    assert (page["ready"], page["degraded"], page["problems"]) == (True, True, [])
    assert any("webhooks go to the spool: Kafka" in warning for warning in page["warnings"])
    assert page["spool"]["bodies"] == 5
    assert 5000 <= page["spool"]["bytes"] <= page["spool"]["max_bytes"] == 1024 * MIB
    assert page["spool"]["oldest_age_seconds"] > 0
    assert (public.status_code, public.json()) == (200, {"ready": True})


@pytest.mark.long
async def test_a_start_without_kafka_is_logged(
    own: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The line comes before the first webhook, and so does a line about the end."""
    given = _settings(own.bootstrap, namespace, tmp_path)
    await topics.apply(given)
    own.kill()
    try:
        async with running(given, create=False) as ingest:
            await _logged(caplog, "webhooks go to the spool: Kafka does not answer")
            assert (await ingest.health())["degraded"]
            await own.start()
            await _logged(caplog, "webhooks go to Kafka again")
            await _healthy(ingest)
            assert await _post(ingest, b"live") == 200
            assert [record.value for record in await stored(ingest, "m")] == [b"live"]
    finally:
        await _back(own)


async def _back(own: LocalKafka) -> None:
    """Start the broker for the next test, if this one failed before it did."""
    try:
        await own.start()
    except RuntimeError:
        return


async def test_a_start_without_topics_spools_until_they_exist(
    kafka: str, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the topic; ingest does not create it; in the end all bodies are on Kafka."""
    given = _settings(kafka, namespace, tmp_path)
    async with running(given, create=False) as ingest:
        await _logged(caplog, f"webhooks go to the spool: the topic {namespace}.raw.")
        assert {await _post(ingest, body) for body in (b"1", b"2", b"3")} == {200}
        assert len(await topics.apply(given)) >= len(given.topics.all), "no topic existed"
        await _logged(caplog, "the spool is empty again")
        await _healthy(ingest)
        assert {record.value for record in await stored(ingest, "m")} == {b"1", b"2", b"3"}


async def test_a_refusal_of_kafka_is_logged_with_its_error(
    kafka: str, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka answers and has the topics, but refuses records of this size."""
    given = _settings(kafka, namespace, tmp_path)
    await topics.apply(given)
    await largest(given, 1000)
    async with running(given, create=False) as ingest:
        topic = given.topics.raw("whapi")
        words = f"Kafka does not accept the records for {topic} (MessageSizeTooLargeError)"

        async def refused() -> bool:  # the limit takes effect on one partition after the other
            assert await _post(ingest, secrets.token_bytes(5000)) == 200
            warnings = (await ingest.health())["warnings"]
            logged = f"webhooks go to the spool: {words}" in caplog.text
            return logged and any(words in warning for warning in warnings)

        await until(refused)
        caplog.clear()
        await largest(given, 100_000)
        await _logged(caplog, "the spool is empty again")


async def test_a_spool_that_fills_is_warned_of(
    namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at 50 % and one at 90 %, while the answer is still 200."""
    away = f"127.0.0.1:{free_port(0)}"
    given = _settings(away, namespace, tmp_path, spool_max_bytes=MIB)
    async with running(given, create=False) as ingest:
        for wanted in (None, None, "reached 50% of a bound", None, "reached 90% of a bound"):
            assert "reached" not in caplog.text
            assert await _post(ingest, secrets.token_bytes(200_000)) == 200
            if wanted:
                await _logged(caplog, wanted)
                caplog.clear()
        assert (await ingest.health())["spool"]["size_share"] == pytest.approx(0.95, abs=0.02)
        assert await _post(ingest, secrets.token_bytes(200_000)) == 503


async def test_the_supervisor_combines_the_health_of_its_workers(
    namespace: str, tmp_path: Path
) -> None:
    """One page has the sum of the spools of all workers."""
    port, health_port = free_port(0), free_port(0)
    environment = {
        "BLUETICK_KAFKA": f"127.0.0.1:{free_port(0)}",
        "BLUETICK_NAMESPACE": namespace,
        "BLUETICK_SPOOL": str(tmp_path / "spool"),
        "BLUETICK_PORT": str(port),
        "BLUETICK_INGEST_METRICS_PORT": str(health_port),
        "BLUETICK_SPOOL_MAX_BYTES": str(MIB),
        "BLUETICK_DRAIN": "0",
    }
    async with (
        command("ingest", "--workers", "2", **environment) as ingest,
        httpx.AsyncClient(timeout=60) as client,
    ):

        async def page() -> Any:
            try:
                return json.loads(
                    (await client.get(f"http://127.0.0.1:{health_port}/health/ready")).text
                )
            except httpx.TransportError:
                return {"spool": None}

        async def is_summed() -> bool:
            spool = (await page())["spool"]
            return bool(spool) and (spool["bodies"], spool["max_bytes"]) == (10, 2 * MIB)

        async def both() -> bool:
            spool = (await page())["spool"]
            return bool(spool) and spool["max_bytes"] == 2 * MIB

        await until(both)
        for _ in range(10):
            close = {"connection": "close"}
            url = f"http://127.0.0.1:{port}/webhooks/whapi"
            assert (await client.post(url, headers=close, content=b"{}")).status_code == 200
        await until(is_summed)
        health = await page()
        assert (health["ready"], health["degraded"]) == (True, True)
        assert any("Kafka does not answer" in warning for warning in health["warnings"])
        ingest.interrupt()
        assert await ingest.ended() == 0
