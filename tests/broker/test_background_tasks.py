"""Background tasks of ingest: an unexpected error is logged in one line, and they restart."""

import secrets
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local_kafka.broker import free_port
from ingest import delivery, metrics, metrics_server
from ingest.health import Health
from ingest.publishing import publisher, topic_check
from ingest.publishing.publisher import Publisher
from ingest.spool import retry_schedule, slots
from ingest.spool.database import SpoolFile
from ingest.spool.drainer import Drain
from schemas.webhook import RawWebhook
from service import background_tasks
from service.http.server import Server
from service.settings import Settings
from tests.broker.running_ingest import Ingest, running, settings, stored, until

_SECRET = "canary-of-a-body"


class _Failing:
    """A callable that raises in its `at`-th call, and works otherwise."""

    def __init__(self, works: Callable[..., Any], at: int = 1) -> None:
        self.calls = 0
        self._works = works
        self._at = at

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self._at:
            raise RuntimeError(_SECRET)
        return self._works(*args, **named)

    def __get__(self, instance: object, _: type) -> Callable[..., Any]:
        return lambda *args, **named: self(instance, *args, **named)


class _Recording:
    """Creates producers and records them."""

    def __init__(self) -> None:
        self.made: list[AIOKafkaProducer] = []

    def __call__(self, **options: Any) -> AIOKafkaProducer:
        self.made.append(AIOKafkaProducer(**options))
        return self.made[-1]


def _left(spool: Path) -> set[bytes]:
    """Write bodies to two free slots: ingest uses the first itself and takes over the other."""
    left, bodies = [slots.acquire(spool) for _ in range(2)], set()
    for slot in left:
        body, id_ = secrets.token_bytes(50), secrets.token_hex(16)
        with closing(SpoolFile(slot.directory)) as file:
            file.add(
                [
                    RawWebhook(
                        id=id_,
                        source="whapi",
                        provider="whapi",
                        body=body,
                        received_at=1,
                        path="/left",
                    )
                ]
            )
        bodies.add(body)
        slot.release()
    return bodies


# The function that fails in each task, and in which call.
_FAILING: dict[str, tuple[object, str, int]] = {
    "the drain": (Drain, "forward", 1),
    "the drain of other slots": (slots, "holding", 1),
    "the check of deadlines": (Publisher, "_check_silence", 3),
    "the Kafka connection": (Publisher, "_disconnect", 1),
    "the check of the topics": (topic_check.TopicCheck, "_check_brokers", 2),
    "sampling": (metrics, "set_gauges", 2),
}


async def test_failed_tasks_are_logged_and_restart(
    kafka: str,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line each without any part of a body; then they work as before."""
    _shorten_pauses(monkeypatch)
    failing = {}
    for what, (home, name, at) in _FAILING.items():
        failing[what] = _Failing(getattr(home, name), at)
        monkeypatch.setattr(home, name, failing[what])
    # A slot that fails is given up alone.
    monkeypatch.setattr(slots, "take_over", _Failing(slots.take_over))
    producers = _Recording()
    monkeypatch.setattr(publisher, "AIOKafkaProducer", producers)
    given = settings(kafka, namespace, spool=tmp_path / "spool")
    bodies = _left(tmp_path / "spool")
    async with running(given) as ingest:
        await until(lambda: _there(ingest, bodies))
        producers.made[0]._sender.sender_task.cancel()
        for what, (_, _, at) in _FAILING.items():
            await until(partial(_called, failing[what], at + 1))
        await until(lambda: _accepted(ingest))
    failures = [line for line in caplog.messages if "it restarts in" in line]
    names = [line.partition(" failed (RuntimeError, background_tasks.py:")[0] for line in failures]
    assert sorted(names) == sorted(_FAILING)
    assert "cannot be emptied (RuntimeError, delivery.py:" in caplog.text
    assert _SECRET not in caplog.text


async def test_the_health_server_restarts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of the health server is logged, and it restarts on the same port."""
    _shorten_pauses(monkeypatch)
    failing = _Failing(Server.on_tick, at=2)
    monkeypatch.setattr(Server, "on_tick", failing)
    given = Settings(ingest_metrics_port=free_port(0))
    with metrics_server.listen(given) as listener:
        async with (
            metrics_server.exposed(listener, Health, lambda: True),
            httpx.AsyncClient() as client,
        ):
            await until(partial(_called, failing, 4))
            answer = await client.get(f"http://127.0.0.1:{given.ingest_metrics_port}/metrics")
    assert "bluetick_ingest_received_total" in answer.text
    failures = [line for line in caplog.messages if "it restarts in" in line]
    assert [line.partition(" (")[0] for line in failures] == ["the health server failed"]
    assert _SECRET not in caplog.text


def _shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for home, name in (
        (background_tasks, "PAUSE_SECONDS"),
        (delivery, "ADOPT_SECONDS"),
        (publisher, "CHECK_SECONDS"),
        (topic_check, "CHECK_SECONDS"),
        (metrics_server, "SAMPLE_SECONDS"),
        (retry_schedule, "SKIP_SECONDS"),
    ):
        monkeypatch.setattr(home, name, 0.1)


async def _accepted(ingest: Ingest) -> bool:
    return (await ingest.client.post("/webhooks/whapi/live", content=b"live")).is_success


async def _called(failing: _Failing, often: int) -> bool:
    return failing.calls >= often


async def _there(ingest: Ingest, bodies: set[bytes]) -> bool:
    return {record.value for record in await stored(ingest, "left")} == bodies
