"""The table of metrics: every family that a service exposes, its labels and their values. Pure.

`TABLE` is the only list. The services make their metrics from it, docs/metrics.md shows it, and the
alert rules and the dashboard are checked against it. A name ends in its unit; a counter's name ends
in `_total`. Labels are bounded: no label holds a message id, a number or a text of a sender.
"""

from collections.abc import Iterable

from schemas.processor_list import MEASURE, NORMALISE, PROCESSORS, TRACK
from service.kafka.causes import CAUSES, label
from service.metrics.family import Family, Label, counter, gauge
from service.metrics.ingest_families import OF_INGEST
from service.metrics.processor_families import (
    OF_EVERY_PROCESSOR,
    OF_MEASURE,
    OF_NORMALISE,
    OF_NORMALISE_AND_TRACK,
    OF_TRACK,
    OF_TRACK_AND_MEASURE,
)

INGEST = "ingest"
CONSOLE = "console"
EVERY_PROCESSOR = "every processor"
"""In `Family.services`: each service of `schemas.processor_list.PROCESSORS`, also a new one."""

_OF_EVERY_SERVICE = (
    gauge(
        "bluetick_build_info",
        "",
        "1; the labels name the service and the version of Bluetick that runs",
        Label("service", bound="the name of the service"),
        Label("version", bound="the version of the process"),
        together="livemax",
    ),
    gauge(
        "bluetick_clock_offset_seconds",
        "seconds",
        "time by which this machine's clock is ahead of Kafka's; NaN while they are not compared",
        together="livemostrecent",
    ),
    gauge(
        "bluetick_ready",
        "",
        "1 while the service is ready, as `/health/ready` answers, else 0",
        together="livemin",
    ),
    gauge(
        "bluetick_kafka_connected",
        "",
        "1 while the service has a connection to a broker, else 0",
        together="livemin",
    ),
    counter(
        "bluetick_kafka_connection_losses_total",
        "connections",
        "connections to brokers that broke, or were closed because the broker was silent",
    ),
    counter(
        "bluetick_kafka_failures_total",
        "failures",
        "connections to Kafka that failed, and requests refused for lack of a right, by cause",
        Label("cause", tuple(map(label, CAUSES))),
    ),
)

_OF_EVERY_PROCESS = (
    counter("process_cpu_seconds_total", "seconds", "user and system CPU time"),
    gauge("process_virtual_memory_bytes", "bytes", "virtual memory"),
    gauge("process_resident_memory_bytes", "bytes", "resident memory"),
    gauge("process_start_time_seconds", "seconds", "start of the process, Unix time"),
    gauge("process_open_fds", "files", "open file descriptors"),
    gauge("process_max_fds", "files", "limit of open file descriptors"),
)


def _on(services: tuple[str, ...], families: Iterable[Family], made_by: str = "") -> list[Family]:
    return [one._replace(services=services, made_by=made_by) for one in families]


TABLE: tuple[Family, ...] = (
    *_on((INGEST, CONSOLE, EVERY_PROCESSOR), _OF_EVERY_SERVICE),
    *_on((INGEST, CONSOLE, EVERY_PROCESSOR), _OF_EVERY_PROCESS, "prometheus_client, on Linux"),
    *_on((EVERY_PROCESSOR,), OF_EVERY_PROCESSOR),
    *_on((NORMALISE.name, TRACK.name), OF_NORMALISE_AND_TRACK),
    *_on((NORMALISE.name,), OF_NORMALISE),
    *_on((TRACK.name, MEASURE.name), OF_TRACK_AND_MEASURE),
    *_on((TRACK.name,), OF_TRACK),
    *_on((MEASURE.name,), OF_MEASURE),
    *_on((INGEST,), OF_INGEST),
)


def families(service: str) -> list[Family]:
    """Return the families that a service exposes, in the order of the table."""
    groups = {service}
    if any(one.name == service for one in PROCESSORS):
        groups.add(EVERY_PROCESSOR)
    return [family for family in TABLE if groups & {*family.services}]
