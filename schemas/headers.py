"""The headers of the records on each topic, as types: the published schemas are made from them.

Every value is UTF-8 text. The code that writes a header has its name as a constant;
tests/unit/cli/contracts compares both.
"""

from msgspec import Struct, field


class PublishedHeaders(Struct, kw_only=True, omit_defaults=True):
    """CloudEvents 1.0 attributes, in Kafka's binary mode: of statuses, events and inbound."""

    ce_specversion: str
    ce_id: str
    ce_source: str
    ce_subject: str
    ce_type: str
    ce_time: str
    ce_dataschema: str
    content_type: str = field(name="content-type")
    traceparent: str | None = None
    tracestate: str | None = None


class RawHeaders(Struct, kw_only=True, omit_defaults=True):
    """Headers of a raw body: CloudEvents attributes, the request, and what ingest knows of it.

    The content type is the sender's. Bodies that were written by hand may have no headers.
    """

    ce_specversion: str
    ce_id: str
    ce_source: str
    ce_type: str
    ce_time: str
    content_type: str = field(name="content-type")
    http_method: str = field(name="http-method")
    http_path: str = field(name="http-path")
    content_encoding: str | None = field(name="content-encoding", default=None)
    user_agent: str | None = field(name="user-agent", default=None)
    x_request_id: str | None = field(name="x-request-id", default=None)
    ingest_time: str | None = field(name="ingest-time", default=None)
    source_accounts: str | None = field(name="source-accounts", default=None)
    traceparent: str | None = None
    tracestate: str | None = None


class ObservationHeaders(Struct, kw_only=True, omit_defaults=True):
    """Headers of observations: none, unless traces are on."""

    traceparent: str | None = None
    tracestate: str | None = None


class StateHeaders(Struct, kw_only=True, omit_defaults=True):
    """Headers of states: for the tracker alone, consumers ignore them."""

    next_timer_at: str | None = field(name="next-timer-at", default=None)
    taken_to: str | None = field(name="taken-to", default=None)
    offset_metadata: str | None = field(name="offset-metadata", default=None)


class QualityHeaders(Struct, kw_only=True, omit_defaults=True):
    """Headers of the records of `quality`: for the processor alone, consumers ignore them."""

    taken_to: str | None = field(name="taken-to", default=None)
    offset_metadata: str | None = field(name="offset-metadata", default=None)


class NoHeaders(Struct, kw_only=True):
    """No headers."""


class DeadLetterHeaders(Struct, kw_only=True, omit_defaults=True):
    """Headers of a dead letter, before the raw record's own headers, which follow unchanged.

    A record without a value whose headers have `dead-letter-resolved` resolves a dead letter.
    """

    code: str = field(name="dead-letter-code")
    pointer: str = field(name="dead-letter-pointer")
    topic: str = field(name="__streams.errors.topic")
    partition: str = field(name="__streams.errors.partition")
    offset: str = field(name="__streams.errors.offset")
    message: str | None = field(name="__streams.errors.message", default=None)
    exception: str | None = field(name="__streams.errors.exception", default=None)
    stacktrace: str | None = field(name="__streams.errors.stacktrace", default=None)
    timestamp: str | None = field(name="dead-letter-timestamp", default=None)
    account: str | None = field(name="dead-letter-account", default=None)
    observation: str | None = field(name="dead-letter-observation", default=None)
    replay: str | None = field(name="dead-letter-replay", default=None)
    resolved: str | None = field(name="dead-letter-resolved", default=None)
