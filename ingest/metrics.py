"""The metrics of ingest: counted as requests come and go, and set each second.

At any moment `received = accepted + rejected + in flight`, over all sources. With several workers
(prometheus_client's multiprocess mode) the numbers are those of all workers together. Requests that
a killed worker had in flight count as received only.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ingest.delivery import Where
from ingest.spool.quota import Held
from service.kafka.clock import clock
from service.metrics.labels import REJECTIONS, UNKNOWN_SOURCE
from service.metrics.observe_all import observe_all
from service.metrics.of_every_service import kafka_connected, note_build
from service.metrics.registry import counter, exposed, gauge, histogram
from service.metrics.table import INGEST
from service.settings import Settings

# The variable that makes prometheus_client, on import, share its numbers in files.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

# The cause of the refusal of a malformed request, by the status of the answer.
_CAUSE_BY_STATUS = {408: "too-slow", 414: "too-large", 431: "too-large"}
# The causes of requests whose source is not known yet.
_CAUSES_OF_UNKNOWN = {"unknown-source", "malformed"}

received = counter("bluetick_ingest_received_total")
accepted = counter("bluetick_ingest_accepted_total")
rejected = counter("bluetick_ingest_rejected_total")
responses = counter("bluetick_ingest_responses_total")
last_accepted = gauge("bluetick_ingest_last_accepted_timestamp_seconds")
in_flight = gauge("bluetick_ingest_in_flight")
request_seconds = histogram("bluetick_ingest_request_seconds")
request_bytes = histogram("bluetick_ingest_request_bytes")
publish_seconds = histogram("bluetick_ingest_publish_seconds")
publishing_bytes = gauge("bluetick_ingest_publishing_bytes")
spool_bytes = gauge("bluetick_ingest_spool_bytes")
spool_bodies = gauge("bluetick_ingest_spool_bodies")
spool_age_seconds = gauge("bluetick_ingest_spool_oldest_age_seconds")
spool_free_bytes = gauge("bluetick_ingest_spool_free_bytes")
spool_places_given_up = gauge("bluetick_ingest_spool_places_given_up")
_limits = {
    name: gauge(f"bluetick_ingest_{name}")
    for name in (
        *("max_in_flight", "max_in_flight_bytes", "max_connections", "max_body_bytes"),
        *("spool_max_bytes", "spool_max_age_seconds"),
    )
}
registry = exposed(INGEST)


class Sample(NamedTuple):
    """What is measured each second.

    `publishing` are the bytes in memory, `free` those of the spool's disk, `given_up` the spool
    slots of dead processes; `connected` says whether Kafka is.
    """

    publishing: int
    held: Held
    free: int
    given_up: int
    connected: bool


def begin(settings: Settings, connections: int, sources: Iterable[str]) -> None:
    """Set the limits, and begin the counters of all sources at 0."""
    note_build(INGEST)
    spool = settings.spool is not None
    limits = {
        "max_in_flight": settings.max_in_flight,
        "max_in_flight_bytes": settings.max_in_flight_bytes,
        "max_connections": connections,
        "max_body_bytes": settings.max_body,
        "spool_max_bytes": settings.spool_max_bytes if spool else 0,
        "spool_max_age_seconds": settings.spool_max_age if spool else 0,
    }
    for name, limit in limits.items():
        _limits[name].set(limit)
    for source in (UNKNOWN_SOURCE, *sources):
        _begin(source)


def _begin(source: str) -> None:
    received.labels(source)
    known = source != UNKNOWN_SOURCE
    for cause in REJECTIONS:
        if not (known and cause in _CAUSES_OF_UNKNOWN):
            rejected.labels(source, cause)
    if known:
        last_accepted.labels(source)
        for durable in ("kafka", "spool", "-"):
            accepted.labels(source, durable)


def set_gauges(sample: Sample) -> None:
    publishing_bytes.set(sample.publishing)
    spool_bytes.set(sample.held.bytes)
    spool_bodies.set(sample.held.bodies)
    spool_free_bytes.set(sample.free)
    spool_places_given_up.set(sample.given_up)
    kafka_connected.set(sample.connected)
    oldest = sample.held.oldest
    waited = 0 if oldest is None else (clock.now() - oldest) / 1000
    spool_age_seconds.set(max(0.0, waited))


def count_received(source: str, count: int = 1) -> None:
    """Count requests; exactly one of the next four functions must follow for each."""
    _received(source).inc(count)
    in_flight.inc(count)


def count_rejected(source: str, cause: str) -> None:
    """Count a request as rejected."""
    in_flight.dec()
    _rejected(source, cause).inc()


def count_accepted(source: str, durable: Where, seconds: float) -> None:
    """Count a request as accepted; it was durable `seconds` after the end of its body."""
    in_flight.dec()
    _accepted(source, durable).inc()
    _publish(durable).observe(seconds)
    _last_accepted(source).set(clock.now() / 1000)


def count_stored(source: str, seconds: Sequence[float]) -> None:
    """Count requests as accepted, stored on Kafka, and answered so many seconds after arrival."""
    count = len(seconds)
    in_flight.dec(count)
    _accepted(source, "kafka").inc(count)
    observe_all(_publish("kafka"), seconds)
    _last_accepted(source).set(clock.now() / 1000)
    _response(200).inc(count)
    observe_all(request_seconds, seconds)


def observe_sizes(sizes: Sequence[int]) -> None:
    """Observe the sizes of bodies, in bytes."""
    observe_all(request_bytes, sizes)


def count_handshake(source: str) -> None:
    """Count a verification handshake as accepted, although nothing is stored."""
    in_flight.dec()
    _accepted(source, "-").inc()


def count_answer(status: int, seconds: float) -> None:
    """Count an answer, `seconds` after the head of its request."""
    _response(status).inc()
    request_seconds.observe(seconds)


def count_malformed(status: int) -> None:
    """Count a malformed request, refused with this status before its source was known."""
    _received(UNKNOWN_SOURCE).inc()
    _rejected(UNKNOWN_SOURCE, _CAUSE_BY_STATUS.get(status, "malformed")).inc()
    _response(status).inc()


def served() -> CollectorRegistry:
    """Return the registry to serve: of this process, or of all workers together.

    With workers, the `process_*` metrics are those of their supervisor.
    """
    if SHARED not in os.environ:
        return registry
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    ProcessCollector(registry=together)
    return together


@contextmanager
def shared() -> Iterator[None]:
    """Make the processes that are started in this context share their metrics."""
    with TemporaryDirectory(prefix="bluetick-ingest-") as directory:
        os.environ[SHARED] = directory
        try:
            yield
        finally:
            del os.environ[SHARED]


def remove_worker(pid: int) -> None:
    """Remove the gauges of a worker that has ended; its counters stay."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


# Labels are looked up once: each lookup takes a lock, and there are few.
@lru_cache(maxsize=1024)
def _received(source: str) -> Counter:
    return received.labels(source)


@lru_cache(maxsize=1024)
def _accepted(source: str, durable: str) -> Counter:
    return accepted.labels(source, durable)


@lru_cache(maxsize=1024)
def _last_accepted(source: str) -> Gauge:
    return last_accepted.labels(source)


@lru_cache(maxsize=1024)
def _rejected(source: str, cause: str) -> Counter:
    return rejected.labels(source, cause)


@lru_cache(maxsize=8)
def _publish(durable: str) -> Histogram:
    return publish_seconds.labels(durable)


@lru_cache(maxsize=32)
def _response(status: int) -> Counter:
    return responses.labels(str(status))
