"""The door's metrics, a closed list; what was received is what was accepted, rejected or is held.

At any moment `received = accepted + rejected + in flight`, over all sources. With several workers
(prometheus_client's multiprocess mode) the numbers are those of all of them together; what one held
that was killed counts as received and as nothing else.
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
from service.kafka.clock import clock

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()

# The variable by which prometheus_client, on import, is told to share its numbers in files.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

NOBODY = "-"
"""The label of a source that is not known: a stranger's word never becomes a label."""

# Why what is no request was refused, by the status of the answer.
_UNREADABLE = {408: "too-slow", 414: "too-large", 431: "too-large"}

received = Counter(
    "bluetick_ingest_received",
    "requests under /webhooks/, and those that are no HTTP at all",
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
    "requests refused, by cause; disconnected: the sender left before its body was complete",
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
    "from the whole body to its durability",
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
    "places of the spool that nobody has, with bodies that could not be brought to Kafka so far",
    registry=registry,
    multiprocess_mode="livemax",
)
clock_offset = Gauge(
    "bluetick_clock_offset_seconds",
    "by how much this machine's clock is ahead of Kafka's; NaN while they are not compared",
    registry=registry,
    multiprocess_mode="livemostrecent",
)


def sample(publishing: int, held: Held, given_up: int, spool_limit: int) -> None:
    """Take what is looked at now and then: bytes held, the spool and its limit, places given up."""
    publishing_bytes.set(publishing)
    spool_bytes.set(held.bytes)
    spool_bodies.set(held.bodies)
    spool_places_given_up.set(given_up)
    spool_max_bytes.set(spool_limit)
    waited = 0 if held.oldest is None else (clock.now() - held.oldest) / 1000
    spool_age_seconds.set(max(0.0, waited))


def came(source: str) -> None:
    """Count a request; `refused`, `taken` or `answered` must follow."""
    _received(source).inc()
    in_flight.inc()


def refused(source: str, cause: str) -> None:
    """Count a request as rejected."""
    in_flight.dec()
    _rejected(source, cause).inc()


def taken(source: str, durable: Where, seconds: float) -> None:
    """Count a request as accepted, durable so many seconds after its body was whole."""
    in_flight.dec()
    _accepted(source, durable).inc()
    _publish(durable).observe(seconds)


def answered(source: str) -> None:
    """Count a verification handshake as accepted: there is nothing to store."""
    in_flight.dec()
    _accepted(source, "-").inc()


def unreadable(status: int) -> None:
    """Count what was refused with this status before it had a source: it is no request."""
    _received(NOBODY).inc()
    _rejected(NOBODY, _UNREADABLE.get(status, "malformed")).inc()


def served() -> CollectorRegistry:
    """The registry to serve: of this process, or of all workers together."""
    if SHARED not in os.environ:
        return registry
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


@contextmanager
def shared() -> Iterator[None]:
    """Let the processes started meanwhile count together."""
    with TemporaryDirectory(prefix="bluetick-ingest-") as directory:
        os.environ[SHARED] = directory
        try:
            yield
        finally:
            del os.environ[SHARED]


def forget(pid: int) -> None:
    """A worker is gone: what it held is held no more. What it counted stays counted."""
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
