"""The spans of a service, exported with OpenTelemetry; imported only if traces are on.

A span has no text of a webhook, no number and no message key. Names and attributes follow
OpenTelemetry's semantic conventions for messaging and HTTP.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from service.settings import Settings
from service.tracing import CONTEXT, Headers, Round, Traced, context
from service.version import __version__

# The most records to which one round is linked: OpenTelemetry's own limit of a span.
_LINKS = 128
# How long the end of a service waits for the last spans to be exported.
_FLUSH_SECONDS = 2.0

_propagator = TraceContextTextMapPropagator()

# The version, the ids, which are not 0, and the flags.
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


class OpenTelemetry:
    """The spans of one service."""

    def __init__(self, settings: Settings, service: str, processor: SpanProcessor) -> None:
        """`processor` receives the spans that have ended."""
        sampler = _Sampler(settings.trace_ratio, of_strangers=service == "ingest")
        resource = Resource.create(_resource(settings, service))
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("bluetick", __version__)

    @contextlib.contextmanager
    def receiving(
        self, request: Iterable[tuple[bytes, bytes]], method: str, source: str, topic: str
    ) -> Iterator[Mapping[str, str]]:
        """Trace a webhook while it is made durable; yield the context of its raw record."""
        names = {name.encode(): name for name in CONTEXT}
        sent = {names[name]: value.decode("latin-1") for name, value in request if name in names}
        received = self._tracer.start_span(
            f"{method} /webhooks/{{source}}",
            _propagator.extract(dict(context((n, v.encode()) for n, v in sent.items())) and sent),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": "/webhooks/{source}",
                "bluetick.source": source,
            },
        )
        send = self._tracer.start_span(
            f"send {topic}",
            set_span_in_context(received),
            SpanKind.PRODUCER,
            {**_operation("send", "send"), "messaging.destination.name": topic},
        )
        with _ending(received), _ending(send):
            yield _carried(send)

    @contextlib.contextmanager
    def processing(self, group: str) -> Iterator[Round]:
        """Trace a round or batch; it fails if the block raises."""
        spans = _Spans(self._tracer, group)
        try:
            yield spans
        except BaseException as error:
            spans.end(type(error).__name__)
            raise
        spans.end()

    def stop(self) -> None:
        """Export the remaining spans, within a few seconds."""
        # In a thread of its own: without an answer the exporter tries for longer.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(_FLUSH_SECONDS)


def exporting(settings: Settings, service: str) -> OpenTelemetry:
    """Return the spans of a service, which are sent to the collector of the settings."""
    # Without an address, the standard variables OTEL_EXPORTER_OTLP_* name it.
    named = None if settings.traces == "otlp" else f"{settings.traces.rstrip('/')}/v1/traces"
    return OpenTelemetry(settings, service, BatchSpanProcessor(OTLPSpanExporter(named)))


class _Sampler(Sampler):
    """Samples a share of the traces, and every round that has a sampled record.

    The flag of a stranger may lower the share, but not raise it.
    """

    def __init__(self, ratio: float, *, of_strangers: bool) -> None:
        share = TraceIdRatioBased(ratio)
        self._share = ParentBased(share, share if of_strangers else ALWAYS_ON)

    def should_sample(  # noqa: PLR0917 - the interface of a sampler
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: "Iterable[Link] | None" = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._share.should_sample(parent_context, trace_id, name, kind, attributes)

    def get_description(self) -> str:
        return "Bluetick"


class _Spans:
    """The spans of one round or batch; the spans of its records end with it."""

    def __init__(self, tracer: Tracer, group: str) -> None:
        self._tracer = tracer
        self._group: dict[str, str | int] = {
            **_operation("process", "process"),
            "messaging.consumer.group.name": group,
        }
        self._name = f"process {group}"
        self._began = time.time_ns()
        self._count = 0
        self._taken: list[tuple[int, SpanContext, Span]] = []

    def take(self, record: Traced) -> Headers:
        """Begin the span of a record; return the context of the records derived from it.

        A trace that is not sampled continues without spans. A record without a context begins none.
        """
        self._count += 1
        found = context(record.headers)
        known = _TRACEPARENT.fullmatch(dict(found).get(CONTEXT[0], b""))
        if known is None:
            return ()
        if not int(known[1], 16) & TraceFlags.SAMPLED:
            return found
        parent = _propagator.extract({name: value.decode("latin-1") for name, value in found})
        origin = get_current_span(parent).get_span_context()
        place: dict[str, str | int] = {
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        span = self._tracer.start_span(
            f"process {record.topic}", parent, SpanKind.CONSUMER, self._group | place
        )
        self._taken.append((self._count, origin, span))
        return [(name, value.encode()) for name, value in _carried(span).items()]

    def take_all(self, records: Iterable[Traced]) -> Mapping[int, Headers]:
        """Take the records of one partition; return their contexts by offset."""
        return {record.offset: self.take(record) for record in records}

    def keep(self, count: int) -> None:
        """Forget the records that were taken after the first `count`."""
        self._taken = [one for one in self._taken if one[0] <= count]
        self._count = count

    def end(self, failure: str = "") -> None:
        """End the spans of the records, each linked with the span of the round, and that span."""
        if not self._taken:
            return
        round_ = self._tracer.start_span(
            self._name,
            Context(),
            SpanKind.CONSUMER,
            {**self._group, "messaging.batch.message_count": self._count},
            links=[Link(origin) for _, origin, _ in self._taken[:_LINKS]],
            start_time=self._began,
        )
        for span in (*(span for _, _, span in self._taken), round_):
            if span is not round_:
                span.add_link(round_.get_span_context())
            if failure:
                _fail(span, failure)
            span.end()


@contextlib.contextmanager
def _ending(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _fail(span, type(error).__name__)
        raise
    finally:
        span.end()


def _fail(span: Span, kind: str) -> None:
    """Mark a span as failed; the text of an exception may quote a webhook."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, kind))


def _carried(span: Span) -> dict[str, str]:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(span))
    return carrier


def _operation(name: str, type_: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": name,
        "messaging.operation.type": type_,
    }


def _resource(settings: Settings, service: str) -> dict[str, str]:
    found = {"service.namespace": settings.namespace, "service.version": __version__}
    if OTEL_SERVICE_NAME not in os.environ:
        found["service.name"] = f"bluetick-{service}"
    if settings.instance:
        found["service.instance.id"] = settings.instance
    return found
