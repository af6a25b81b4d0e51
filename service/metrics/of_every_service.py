"""The metrics that every service has."""

from service.kafka import connections
from service.metrics.registry import counter, gauge
from service.version import __version__

clock_offset = gauge("bluetick_clock_offset_seconds")
ready = gauge("bluetick_ready")
kafka_connected = gauge("bluetick_kafka_connected")
_build = gauge("bluetick_build_info")
_losses = counter("bluetick_kafka_connection_losses_total")
kafka_failures = counter("bluetick_kafka_failures_total")

connections.on_loss(_losses.inc)


def note_build(service: str) -> None:
    """Record which service this process is, and its version."""
    _build.labels(service, __version__).set(1)


def count_kafka_failure(cause: str) -> None:
    """Count a connection that failed, or a refusal, by the label of its cause."""
    kafka_failures.labels(cause).inc()
