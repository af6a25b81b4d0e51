"""A trace goes from a webhook's request to the derived event, through real Kafka; or nowhere."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind

from processors.normalising.normaliser import Normaliser
from processors.runtime.group_worker import GroupWorker
from processors.tracking.tracker import Tracker
from schemas.processor_list import NORMALISE, TRACK
from service.open_telemetry import OpenTelemetry
from service.settings import Settings
from service.tracing import CONTEXT, tracing
from tests.broker.reading import Read, caught_up, read, written
from tests.broker.running_ingest import Ingest, running, until
from tests.contract import check
from tests.e2e.commands import command

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE[::-1]}-00f067aa0ba902b7-00"
DERIVED = ("observations", "statuses", "events")


def _body(number: int) -> bytes:
    entry = {"message_id": f"m-{number}", "gateway": "sms", "timestamp": 1_700_000_000}
    return json.dumps([{**entry, "result": "delivered", "type": "outgoing"}]).encode()


@asynccontextmanager
async def _processors(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    made = (
        GroupWorker(NORMALISE, settings, Normaliser),
        GroupWorker(TRACK, settings, Tracker),
    )
    workers = [asyncio.create_task(one.run(stop)) for one in made]

    async def ready() -> bool:
        return not any(one.problems() for one in made)

    try:
        await until(ready)
        yield
    finally:
        stop.set()
        await asyncio.gather(*workers)


async def _post(ingest: Ingest, number: int, **headers: str) -> None:
    answer = await ingest.client.post(
        "/webhooks/smsmanager", content=_body(number), headers=headers
    )
    assert answer.status_code == 200


async def _records(settings: Settings) -> dict[str, dict[str, Read]]:
    """Return the records of each topic by message; raw ones by their body."""
    topics = settings.topics
    found = {
        "raw": {r.value.decode(): r for r in await read(settings.kafka, topics.raw("smsmanager"))}
    }
    for name in DERIVED:
        records = await read(settings.kafka, f"{settings.namespace}.{name}")
        found[name] = {one.key: one for one in records}
    return found


def _context(record: Read) -> dict[str, str]:
    return {name: record.headers[name].decode() for name in CONTEXT if name in record.headers}


def _carried(record: Read) -> str:
    """Return trace and span of a record's context."""
    return _context(record)["traceparent"][3:52]


def _name(span: SpanContext | None) -> str:
    assert span is not None
    return f"{span.trace_id:032x}-{span.span_id:016x}"


async def test_a_trace_goes_from_the_webhook_to_the_event(
    settings: Settings, tmp_path: Path
) -> None:
    """Each derived record has the webhook's trace; rounds and records are linked.

    A trace that is not sampled continues without spans, one without a request's context begins at
    ingest, and without tracing no record has a context. Values, keys and ids do not differ, and all
    records are as the published schemas describe them.
    """
    exporter = InMemorySpanExporter()
    settings = settings.model_copy(
        update={
            "data": tmp_path,
            "port": 0,
            "ingest_metrics_port": 0,
            "drain": 0.05,
            "trace_ratio": 1,
        }
    )
    traces = OpenTelemetry(settings, "ingest", SimpleSpanProcessor(exporter))
    async with running(settings, create=False) as ingest, _processors(settings):
        with tracing(traces):
            await _post(ingest, 1, traceparent=PARENT, tracestate="vendor=1")
            await _post(ingest, 2, traceparent=UNSAMPLED)
            await _post(ingest, 3, traceparent="no context")
            await caught_up(settings.kafka, settings.topics)
        await _post(ingest, 4, traceparent=PARENT)
        await caught_up(settings.kafka, settings.topics)
    found = await _records(settings)
    check(written(settings, one) for records in found.values() for one in records.values())
    key = "smsmanager/-/m-{}".format
    spans = {_name(span.context): span for span in exporter.get_finished_spans()}

    for topic in ("raw", *DERIVED):
        one, unsampled, begun, off = (
            found[topic][_body(n).decode() if topic == "raw" else key(n)] for n in (1, 2, 3, 4)
        )
        assert _context(one)["traceparent"].startswith(f"00-{TRACE}-")
        assert _context(one)["tracestate"] == "vendor=1"
        assert _carried(one) in spans
        assert _context(unsampled)["traceparent"].startswith(f"00-{TRACE[::-1]}-")
        assert _context(unsampled)["traceparent"].endswith("-00")
        assert _carried(begun) in spans
        assert _carried(begun)[:32] == _carried(found["raw"][_body(3).decode()])[:32] != TRACE
        assert _context(off) == {}
        assert set(one.headers) - {*CONTEXT} == set(off.headers)
    assert not any(span.context.trace_id == int(TRACE[::-1], 16) for span in spans.values())

    _judge_spans(
        settings, spans, [found[topic] for topic in ("observations", "events")], found["raw"]
    )


async def test_the_services_send_their_spans_to_the_collector(settings: Settings) -> None:
    """The real command sends the remaining ones at its end; only sampled webhooks have any."""
    with _Collector().serving() as collector:
        environment = {
            "BLUETICK_KAFKA": settings.kafka,
            "BLUETICK_NAMESPACE": settings.namespace,
            "BLUETICK_PARTITIONS": "3",
            "BLUETICK_PORT": str(settings.port),
            "BLUETICK_DRAIN": "0",
            "BLUETICK_TRACES": collector.url,
            "BLUETICK_TRACE_RATIO": "1",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        async with command("ingest", **environment) as ingest, httpx.AsyncClient() as client:
            await ingest.until("ingest starting")
            url = f"http://127.0.0.1:{settings.port}/webhooks/smsmanager?secret=1"
            for context in (PARENT, UNSAMPLED):
                answer = await client.post(url, content=_body(1), headers={"traceparent": context})
                assert answer.status_code == 200
            ingest.interrupt()
            assert await ingest.ended() == 0, ingest.output
    [found] = [one for request in collector.requests for one in request.resource_spans]
    resource = {one.key: one.value.string_value for one in found.resource.attributes}
    assert resource["service.name"] == "bluetick-ingest"
    assert resource["service.namespace"] == settings.namespace
    assert resource["deployment.environment.name"] == "test"
    spans = [span for scope in found.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert [span.name for span in spans].count("POST /webhooks/{source}") == 1
    assert "secret" not in str(collector.requests)


class _Collector(HTTPServer):
    """A collector: it keeps the requests of exporters."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exports)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[ExportTraceServiceRequest] = []

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Accept requests during the block."""
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Exports(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Accept spans."""
        assert isinstance(self.server, _Collector)
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _judge_spans(
    settings: Settings,
    spans: dict[str, ReadableSpan],
    derived: list[dict[str, Read]],
    raw: dict[str, Read],
) -> None:
    """The spans of the first webhook are parents and children, and linked with their rounds."""
    topics = settings.topics
    chain = [_carried(raw[_body(1).decode()])]
    chain += [_carried(records["smsmanager/-/m-1"]) for records in derived]
    send, normalise, track = (spans[one] for one in chain)
    assert (send.kind, send.name) == (SpanKind.PRODUCER, f"send {topics.raw('smsmanager')}")
    received = spans[_name(send.parent)]
    assert (received.kind, received.name) == (SpanKind.SERVER, "POST /webhooks/{source}")
    assert received.parent is not None
    assert f"{received.parent.span_id:016x}" == PARENT[36:52]

    origin = send
    for span, service in ((normalise, "normalise"), (track, "track")):
        [topic] = {topics.raw("smsmanager")} if service == "normalise" else {topics.observations}
        attributes = dict(span.attributes or {})
        assert (span.kind, span.name) == (SpanKind.CONSUMER, f"process {topic}")
        assert attributes["messaging.system"] == "kafka"
        assert attributes["messaging.consumer.group.name"] == topics.group(service)
        assert attributes["messaging.destination.name"] == topic
        assert _name(span.parent) == _name(origin.context)
        [link] = span.links
        round_ = spans[_name(link.context)]
        assert round_.name == f"process {topics.group(service)}"
        assert round_.parent is None
        assert _name(origin.context) in {_name(one.context) for one in round_.links}
        assert (round_.attributes or {})["messaging.batch.message_count"] in {1, 2, 3}
        origin = span
