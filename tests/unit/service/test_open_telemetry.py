"""The spans of a service: sampling, contexts of records, failures, and nothing while it is off."""

import subprocess
import sys
from typing import NamedTuple

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service import tracing
from service.open_telemetry import OpenTelemetry
from service.settings import Settings
from tests import HOME

CANARY = "420777123456"
IDS = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{IDS}-01", f"00-{IDS}-00"


class Record(NamedTuple):
    """A consumed record."""

    offset: int
    headers: list[tuple[str, bytes]]
    topic: str = "t"
    partition: int = 0


def _record(offset: int, traceparent: str, *more: tuple[str, bytes]) -> Record:
    return Record(offset, [("ce_id", b"1"), ("traceparent", traceparent.encode()), *more])


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def _traces(
    exporter: InMemorySpanExporter, service: str = "track", ratio: float = 1
) -> OpenTelemetry:
    return OpenTelemetry(Settings(trace_ratio=ratio), service, SimpleSpanProcessor(exporter))


def _is_sampled(traceparent: str) -> bool:
    return bool(int(traceparent[-2:], 16) & 1)


def _received(traces: OpenTelemetry, *headers: tuple[bytes, bytes]) -> str:
    with traces.receiving(headers, "POST", "shop", "t.raw.x") as context:
        return context["traceparent"]


@pytest.mark.parametrize(
    ("sent", "ratio", "sampled"),
    [
        ((), 1, True),
        ((), 0, False),
        (((b"traceparent", SAMPLED.encode()),), 1, True),
        (((b"traceparent", SAMPLED.encode()),), 0, False),
        (((b"traceparent", UNSAMPLED.encode()),), 1, False),
    ],
)
def test_a_sender_cannot_raise_the_share(
    sent: tuple[tuple[bytes, bytes], ...],
    ratio: float,
    *,
    sampled: bool,
    exporter: InMemorySpanExporter,
) -> None:
    """Its flag may lower the share; its trace goes on in any case."""
    context = _received(_traces(exporter, "ingest", ratio), *sent)
    assert _is_sampled(context) == sampled
    assert (IDS[:32] in context) == bool(sent)
    assert len(exporter.get_finished_spans()) == (2 if sampled else 0)


@pytest.mark.parametrize(
    "headers",
    [
        ((b"traceparent", b"\xff\x00junk"),),
        ((b"traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01"),),
        ((b"traceparent", b"00-" + b"a" * 10_000),),
        ((b"tracestate", b"a=1"),),
    ],
)
def test_a_wrong_context_is_ignored(
    headers: tuple[tuple[bytes, bytes], ...], exporter: InMemorySpanExporter
) -> None:
    """A trace of its own begins at ingest; processors begin none."""
    assert _is_sampled(_received(_traces(exporter, "ingest"), *headers))
    exporter.clear()
    record = Record(0, [(name.decode(), value) for name, value in headers])
    with _traces(exporter).processing("t.track") as trace:
        assert list(trace.take(record)) == []
    assert exporter.get_finished_spans() == ()


def test_a_trace_that_is_not_sampled_is_carried_on(exporter: InMemorySpanExporter) -> None:
    """With its state, and without spans."""
    record = _record(0, UNSAMPLED, ("tracestate", b"a=1"))
    with _traces(exporter).processing("t.track") as trace:
        assert trace.take_all([record]) == {0: record.headers[1:]}
    assert exporter.get_finished_spans() == ()


def test_processors_follow_the_flag_of_ingest(exporter: InMemorySpanExporter) -> None:
    """Whatever their own ratio is; a round is sampled for its records."""
    with _traces(exporter, ratio=0).processing("t.track") as trace:
        trace.take_all([_record(offset, SAMPLED) for offset in range(200)])
        trace.keep(150)
    *records, round_ = exporter.get_finished_spans()
    assert [span.attributes["messaging.kafka.offset"] for span in records] == [*range(150)]  # type: ignore[index]
    assert {span.links[0].context.span_id for span in records} == {round_.context.span_id}
    assert round_.attributes["messaging.batch.message_count"] == 150  # type: ignore[index]
    assert len(round_.links) == 128


def test_a_failure_has_a_type_and_no_text(exporter: InMemorySpanExporter) -> None:
    """The text of an exception may quote a webhook."""
    for failing in (_failing_round, _failing_request):
        with pytest.raises(ValueError, match=CANARY):
            failing(exporter)
    spans = exporter.get_finished_spans()
    assert [span.attributes["error.type"] for span in spans] == ["ValueError"] * 4  # type: ignore[index]
    assert CANARY not in "".join(span.to_json() for span in spans)


def _failing_round(exporter: InMemorySpanExporter) -> None:
    with _traces(exporter).processing("t.track") as trace:
        trace.take(_record(0, SAMPLED))
        raise ValueError(CANARY)


def _failing_request(exporter: InMemorySpanExporter) -> None:
    with _traces(exporter, "ingest").receiving((), "POST", "shop", "t.raw.x"):
        raise ValueError(CANARY)


def test_off_is_nothing() -> None:
    """No context and no span; and nothing of OpenTelemetry is imported by any service."""
    with tracing.processing("t.track") as trace:
        assert list(trace.take(_record(0, SAMPLED))) == []
        assert trace.take_all([_record(0, SAMPLED)]) == {}
    modules = "ingest.server, processors.normalising.normaliser, processors.tracking.tracker"
    code = (
        f"import sys, {modules}, processors.runtime.run_processor, cli.commands.services, "
        "service.log_lines; assert not [m for m in sys.modules if 'opentelemetry' in m]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True)
