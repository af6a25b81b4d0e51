"""Traces: the context in the headers of records, and the spans of a service; off by default.

While they are off, nothing of OpenTelemetry is imported and no record has a context.
service/open_telemetry.py makes the spans. docs/tracing.md describes them.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from schemas.coordinates import Positioned

Headers = Sequence[tuple[str, bytes]]

# W3C Trace Context, as headers of requests and of records.
CONTEXT = ("traceparent", "tracestate")
_LONGEST = 512


class Traced(Positioned, Protocol):
    """A record of Kafka, of any client or archive."""

    @property
    def headers(self) -> Headers: ...


class Round(Protocol):
    """The spans of one round or batch of a processor: one for each sampled record, and its own."""

    def take(self, record: Traced) -> Headers:
        """Begin the span of a record; return the context of the records derived from it."""

    def take_all(self, records: Iterable[Traced]) -> Mapping[int, Headers]:
        """Take the records of one partition; return their contexts by offset."""

    def keep(self, count: int) -> None:
        """Forget the records that were taken after the first `count`."""


class Traces(Protocol):
    """The spans of one service."""

    def receiving(
        self, request: Iterable[tuple[bytes, bytes]], method: str, source: str, topic: str
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Trace a webhook while it is made durable; yield the context of its raw record."""

    def processing(self, group: str) -> AbstractContextManager[Round]:
        """Trace a round or batch; it fails if the block raises."""


class _Untraced:
    """A round without spans."""

    def take(self, record: Traced) -> Headers:
        del record
        return ()

    def take_all(self, records: Iterable[Traced]) -> Mapping[int, Headers]:
        del records
        return {}

    def keep(self, count: int) -> None:
        del count


class _Current:
    """The traces of this process; None while they are off."""

    traces: Traces | None = None


current = _Current()
_UNTRACED = _Untraced()


@contextlib.contextmanager
def tracing(traces: Traces) -> Iterator[None]:
    """Trace during the block."""
    current.traces = traces
    try:
        yield
    finally:
        current.traces = None


def processing(group: str) -> AbstractContextManager[Round]:
    """Trace a round or batch of a consumer group, if traces are on."""
    traces = current.traces
    return contextlib.nullcontext(_UNTRACED) if traces is None else traces.processing(group)


def context(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Return the context in the headers of a record; () if there is none."""
    found = [
        (name, value)
        for name, value in headers
        if name in CONTEXT and value is not None and len(value) <= _LONGEST
    ]
    return found if any(name == CONTEXT[0] for name, _ in found) else ()
