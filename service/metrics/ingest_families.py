"""The metrics of ingest. Pure."""

from service.metrics.family import Label, counter, gauge, histogram
from service.metrics.labels import REJECTIONS, RESPONSES, UNKNOWN_SOURCE

_SOURCE = Label(
    "source", bound=f"the sources of the sources file; `{UNKNOWN_SOURCE}` for an unknown source"
)

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REQUESTS = (*_FAST, 10.0, 20.0)
_SIZES = (256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 921_600.0)

OF_INGEST = (
    counter(
        "bluetick_ingest_received_total",
        "requests",
        "requests under /webhooks/, and malformed requests",
        _SOURCE,
    ),
    counter(
        "bluetick_ingest_accepted_total",
        "requests",
        "requests answered 200, by what made them durable: kafka or spool; -: a handshake, which "
        "is not stored",
        _SOURCE,
        Label("durable", ("kafka", "spool", "-")),
    ),
    counter(
        "bluetick_ingest_rejected_total",
        "requests",
        "requests refused, by cause; disconnected: the sender closed before its body was complete",
        _SOURCE,
        Label("cause", REJECTIONS),
    ),
    counter(
        "bluetick_ingest_responses_total",
        "responses",
        "answers to the received requests, by HTTP status; a request without an answer has none",
        Label("code", RESPONSES),
    ),
    gauge(
        "bluetick_ingest_last_accepted_timestamp_seconds",
        "seconds",
        "time of the last accepted webhook of a source, Unix time; 0 if there is none since the "
        "start",
        _SOURCE,
        together="max",
    ),
    gauge(
        "bluetick_ingest_in_flight",
        "requests",
        "requests being read, or waiting to be durable",
    ),
    histogram(
        "bluetick_ingest_request_seconds",
        "seconds",
        "duration of a request from the end of its head to its answer, with the time in which its "
        "body arrives",
        buckets=_REQUESTS,
    ),
    histogram(
        "bluetick_ingest_request_bytes",
        "bytes",
        "size of the bodies that were read to their end",
        buckets=_SIZES,
    ),
    histogram(
        "bluetick_ingest_publish_seconds",
        "seconds",
        "time from the end of a body until it is durable",
        Label("durable", ("kafka", "spool")),
        buckets=_FAST,
    ),
    gauge(
        "bluetick_ingest_publishing_bytes",
        "bytes",
        "bodies in memory: being read, or waiting for Kafka",
    ),
    gauge(
        "bluetick_ingest_max_in_flight",
        "requests",
        "limit of the requests that wait for Kafka before 503 (`BLUETICK_MAX_IN_FLIGHT`)",
    ),
    gauge(
        "bluetick_ingest_max_in_flight_bytes",
        "bytes",
        "limit of the bytes that wait for Kafka before 503 (`BLUETICK_MAX_IN_FLIGHT_BYTES`)",
    ),
    gauge(
        "bluetick_ingest_max_connections",
        "connections",
        "limit of open connections (`BLUETICK_MAX_CONNECTIONS`, or fewer by the open files)",
    ),
    gauge(
        "bluetick_ingest_max_body_bytes",
        "bytes",
        "limit of a body (`BLUETICK_MAX_BODY`)",
        together="livemin",
    ),
    gauge(
        "bluetick_ingest_spool_bytes",
        "bytes",
        "bodies in the spool, not on Kafka yet, in bytes",
    ),
    gauge(
        "bluetick_ingest_spool_max_bytes",
        "bytes",
        "bytes the spool may hold before 503 (`BLUETICK_SPOOL_MAX_BYTES`); 0 without a spool",
    ),
    gauge(
        "bluetick_ingest_spool_bodies",
        "bodies",
        "bodies in the spool, not on Kafka yet",
    ),
    gauge(
        "bluetick_ingest_spool_oldest_age_seconds",
        "seconds",
        "age of the oldest body in the spool; 0 if there is none",
        together="livemax",
    ),
    gauge(
        "bluetick_ingest_spool_max_age_seconds",
        "seconds",
        "age of the oldest body before 503 (`BLUETICK_SPOOL_MAX_AGE`); 0 without a spool",
        together="livemin",
    ),
    gauge(
        "bluetick_ingest_spool_free_bytes",
        "bytes",
        "free space of the spool's disk; 0 without a spool",
        together="livemin",
    ),
    gauge(
        "bluetick_ingest_spool_places_given_up",
        "slots",
        "spool slots of dead processes whose bodies could not be sent to Kafka so far",
        together="livemax",
    ),
)
