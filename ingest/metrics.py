"""The metrics of ingest, a fixed list.

At any moment `received = accepted + rejected + in flight`, over all sources. With several workers
(prometheus_client's multiprocess mode) the numbers are those of all workers together. Requests that
a killed worker had in flight count as received only.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from tempfile import TemporaryDirectory

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from ingest.delivery import Where
from ingest.spool.quota import Held
from service.kafka.causes import CAUSES, label
from service.kafka.clock import clock

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()

# The variable that makes prometheus_client, on import, share its numbers in files.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

UNKNOWN_SOURCE = "-"
"""The label of an unknown source: a name that an unknown sender chose never becomes a label."""

# The cause of the refusal of a malformed request, by the status of the answer.
_CAUSE_BY_STATUS = {408: "too-slow", 414: "too-large", 431: "too-large"}

received = Counter(
    "bluetick_ingest_received",
    "requests under /webhooks/, and malformed requests",
    ["source"],
    registry=registry,
)
accepted = Counter(
    "bluetick_ingest_accepted",
    "requests answered 200, by what made them durable: kafka, or spool; -: a handshake, not stored",
    ["source", "durable"],
    registry=registry,
)
rejected = Counter(
    "bluetick_ingest_rejected",
    "requests refused, by cause; disconnected: the sender did so before its body was complete",
    ["source", "cause"],
    registry=registry,
)
in_flight = Gauge(
    "bluetick_ingest_in_flight",
    "requests being read, or waiting to be durable",
    registry=registry,
    multiprocess_mode="livesum",
)
publish_seconds = Histogram(
    "bluetick_ingest_publish_seconds",
    "seconds from the end of the body until it is durable",
    ["durable"],
    registry=registry,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
publishing_bytes = Gauge(
    "bluetick_ingest_publishing_bytes",
    "bodies waiting for Kafka, in bytes",
    registry=registry,
    multiprocess_mode="livesum",
)
spool_bytes = Gauge(
    "bluetick_ingest_spool_bytes",
    "bodies in the spool, not on Kafka yet, in bytes",
    registry=registry,
    multiprocess_mode="livesum",
)
spool_max_bytes = Gauge(
    "bluetick_ingest_spool_max_bytes",
    "bytes the spool may hold before 503; 0 without a spool",
    registry=registry,
    multiprocess_mode="livesum",
)
spool_bodies = Gauge(
    "bluetick_ingest_spool_bodies",
    "bodies in the spool, not on Kafka yet",
    registry=registry,
    multiprocess_mode="livesum",
)
spool_age_seconds = Gauge(
    "bluetick_ingest_spool_oldest_age_seconds",
    "age of the oldest body in the spool; 0 if there is none",
    registry=registry,
    multiprocess_mode="livemax",
)

spool_places_given_up = Gauge(
    "bluetick_ingest_spool_places_given_up",
    "spool slots of dead processes whose bodies could not be sent to Kafka so far",
    registry=registry,
    multiprocess_mode="livemax",
)
clock_offset = Gauge(
    "bluetick_clock_offset_seconds",
    "seconds by which this machine's clock is ahead of Kafka's; NaN while they are not compared",
    registry=registry,
    multiprocess_mode="livemostrecent",
)
kafka_failures = Counter(
    "bluetick_kafka_failures",
    "connections to Kafka that failed, and requests refused for lack of a right, by cause",
    ["cause"],
    registry=registry,
)
for _cause in CAUSES:
    kafka_failures.labels(label(_cause))


def set_gauges(publishing: int, held: Held, given_up: int, spool_limit: int) -> None:
    """Set the gauges: bytes in flight, contents and limit of the spool, slots given up."""
    publishing_bytes.set(publishing)
    spool_bytes.set(held.bytes)
    spool_bodies.set(held.bodies)
    spool_places_given_up.set(given_up)
    spool_max_bytes.set(spool_limit)
    waited = 0 if held.oldest is None else (clock.now() - held.oldest) / 1000
    spool_age_seconds.set(max(0.0, waited))


def count_received(source: str) -> None:
    """Count a request; exactly one of the next three functions must follow."""
    _received(source).inc()
    in_flight.inc()


def count_rejected(source: str, cause: str) -> None:
    """Count a request as rejected."""
    in_flight.dec()
    _rejected(source, cause).inc()


def count_accepted(source: str, durable: Where, seconds: float) -> None:
    """Count a request as accepted; it was durable `seconds` after the end of its body."""
    in_flight.dec()
    _accepted(source, durable).inc()
    _publish(durable).observe(seconds)


def count_handshake(source: str) -> None:
    """Count a verification handshake as accepted, although nothing is stored."""
    in_flight.dec()
    _accepted(source, "-").inc()


def count_kafka_failure(cause: str) -> None:
    """Count a connection to Kafka that failed, or a refusal, by the label of its cause."""
    kafka_failures.labels(cause).inc()


def count_malformed(status: int) -> None:
    """Count a malformed request, refused with this status before its source was known."""
    _received(UNKNOWN_SOURCE).inc()
    _rejected(UNKNOWN_SOURCE, _CAUSE_BY_STATUS.get(status, "malformed")).inc()


def served() -> CollectorRegistry:
    """Return the registry to serve: of this process, or of all workers together."""
    if SHARED not in os.environ:
        return registry
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
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
def _rejected(source: str, cause: str) -> Counter:
    return rejected.labels(source, cause)


@lru_cache(maxsize=8)
def _publish(durable: str) -> Histogram:
    return publish_seconds.labels(durable)
