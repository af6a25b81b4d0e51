"""The log lines of a service's start and end, and its pages."""

import asyncio
import os
import signal
import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.responses import Response

from service.errors import Problem
from service.http.server import _pages, address_of, logged, readiness
from service.settings import Settings
from service.signals import stop_on_signals
from service.version import __version__

_SETTINGS = Settings(kafka="kafka-0:9092,kafka-1:9092", namespace="shop")


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_start_and_end_are_a_line_each(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """The first has version, namespace, addresses and Kafka; the second the signal."""
    stop = stop_on_signals()
    with logged("ingest", _SETTINGS, webhooks="[::1]:8080", metrics="127.0.0.1:8083") as end:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 30)
        end.reason = stop.reason
    addresses = "webhooks on [::1]:8080, metrics on 127.0.0.1:8083"
    kafka = "Kafka at kafka-0:9092,kafka-1:9092"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "INFO",
            f"ingest starting: version {__version__}, namespace shop, {addresses}, {kafka}",
        ),
        ("INFO", f"ingest stopped: {number.name}"),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Problem("one\ntwo; do this"), "one; two; do this"),
        (Problem("two are wrong:\none\ntwo"), "two are wrong: one; two"),
        (ValueError("420777123456"), "ValueError"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_an_end_by_an_exception_is_an_error(
    error: BaseException, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A problem is logged with its sentence, any other exception with its type alone."""
    with pytest.raises(type(error)), logged("track", _SETTINGS, health="127.0.0.1:8082"):
        raise error
    last = caplog.records[-1]
    assert (last.levelname, last.message) == ("ERROR", f"track stopped: {reason}")


def test_an_end_without_a_signal_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A service that returns ended by itself."""
    with logged("track", _SETTINGS, health="127.0.0.1:8082"):
        pass
    assert caplog.messages[-1] == "track stopped: it ended by itself"


def test_an_address_is_host_and_port() -> None:
    """The port is the real one, also for port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert address_of(listener) == f"127.0.0.1:{listener.getsockname()[1]}"


_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "content_type"),
    [
        ("GET", "/metrics", {}, 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("GET", "/metrics", {b"accept": b"text/plain"}, 200, "text/plain; version=0.0.4"),
        ("GET", "/metrics", {b"accept": _OPENMETRICS.encode()}, 200, _OPENMETRICS),
        ("GET", "/metrics", {b"accept-encoding": b"gzip"}, 200, "text/plain; version=0.0.4"),
        ("GET", "/metrics", {b"accept": b"\xff"}, 200, "text/plain; version=0.0.4"),
        ("GET", "/metrics?a=%ff&name[]=no", {}, 200, "text/plain; version=0.0.4"),
        ("HEAD", "/metrics", {}, 200, "text/plain; version=0.0.4"),
        ("POST", "/metrics", {}, 405, "text/plain"),
        ("GET", "/metrics/", {}, 307, ""),
    ],
)
async def test_metrics_are_a_page(
    method: str, path: str, headers: dict[bytes, bytes], status: int, content_type: str
) -> None:
    """Prometheus' text, OpenMetrics if the request accepts it; never compressed."""
    registry = CollectorRegistry()
    Counter("drops", "rain", registry=registry).inc()

    transport = httpx.ASGITransport(_pages(Response, lambda: True, registry))
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
        answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.headers.get("content-type", "").startswith(content_type)
    assert "content-encoding" not in answer.headers
    if method == "GET":
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert ("drops_total 1.0" in answer.text) == (status == 200 and method == "GET")


async def test_live_ready_and_started_are_three_answers() -> None:
    """Live is always 200; the others have a page each, with 503 for no."""
    state = {"ready": False, "started": False}

    def ready() -> Response:
        return readiness([] if state["ready"] else ["Kafka is away"])

    pages = _pages(ready, lambda: state["started"], CollectorRegistry())
    transport = httpx.ASGITransport(pages)

    async def answers() -> list[tuple[int, str]]:
        got = [await client.get(f"/health/{name}") for name in ("live", "started", "ready")]
        return [(one.status_code, one.text) for one in got]

    not_ready = (503, '{"ready":false,"problems":["Kafka is away"]}')
    async with httpx.AsyncClient(transport=transport, base_url="http://health") as client:
        assert await answers() == [(200, ""), (503, '{"started":false}'), not_ready]
        state["started"] = True
        assert await answers() == [(200, ""), (200, '{"started":true}'), not_ready]
        state["ready"] = True
        assert (await answers())[2] == (200, '{"ready":true,"problems":[]}')
