"""The raw webhook, from ingest to normalise: the value is the body verbatim, the rest headers.

The headers are CloudEvents 1.0 in Kafka's binary mode and allowlisted headers of the sender. In
addition there are `http-method`, `http-path` (the path after the source, with the query string)
and, if the source has accounts, `source-accounts`.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct, field

from schemas.accounts import ACCOUNTS_HEADER, Patterns, decode_patterns, encode_patterns
from schemas.schema_uri import schema_of

KEPT_HEADERS = frozenset({"content-encoding", "user-agent", "x-request-id"})

# A header of a raw record: the time of receipt by ingest's own clock, if it is not the time in
# `ce_time`.
OWN_TIME = "ingest-time"

# RFC 3339 has four digits for the year.
_LAST = 253_402_300_799_000

_SOURCE_PREFIX = "/webhooks/"
_LONGEST_SOURCE = 100


class Uptime(Struct, frozen=True, gc=False):
    """The uptime of a machine in milliseconds; `boot` identifies its start."""

    ms: int
    boot: str


class RawWebhook(Struct, frozen=True, kw_only=True, gc=False):
    """One webhook as its sender sent it.

    `path` is the URL path after the source, with the query string. `headers` holds the kept
    headers, with lower-case names. `received_at` is Unix milliseconds by Kafka's clock. If that
    clock was unknown, `uptime` is the machine's uptime then, and later `own_time` the time of
    ingest's clock. `accounts` are those the source may report on, None for every account. `source`
    is "" if unknown. The representation may be logged, so it has nothing that a sender wrote.
    """

    id: str
    source: str
    provider: str
    body: bytes
    received_at: int
    method: str = "POST"
    path: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    accounts: Patterns | None = None
    own_time: int | None = None
    uptime: Uptime | None = None

    def __repr__(self) -> str:
        return f"RawWebhook(id={self.id!r}, source={self.source!r}, {len(self.body)} bytes)"


def to_headers(webhook: RawWebhook) -> list[tuple[str, bytes]]:
    """Return the Kafka headers of a raw record."""
    texts = [
        ("http-method", webhook.method),
        ("http-path", webhook.path),
        *webhook.headers.items(),
    ]
    if webhook.own_time is not None:
        texts.append((OWN_TIME, to_iso(webhook.own_time)))
    event = cloud_event(
        type_="bluetick.webhook.received",
        id_=webhook.id,
        source=_SOURCE_PREFIX + webhook.source,
        time=webhook.received_at,
        content_type=webhook.content_type,
    )
    event += [(name, value.encode()) for name, value in texts]
    if webhook.accounts is not None:
        event.append((ACCOUNTS_HEADER, encode_patterns(webhook.accounts)))
    return event


def from_record(
    provider: str,
    body: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    timestamp: int,
) -> RawWebhook:
    """Read a raw record back.

    Headers may be missing or null, because bodies may be written to a raw topic by hand: then
    defaults apply. `timestamp` is the record's time, Unix milliseconds, for a missing `ce_time`.
    """
    texts = {name: value.decode("utf-8", "replace") for name, value in headers if value is not None}
    get = texts.get
    return RawWebhook(
        id=get("ce_id", ""),
        source=get("ce_source", "").removeprefix(_SOURCE_PREFIX)[:_LONGEST_SOURCE],
        provider=provider,
        body=body or b"",
        received_at=_from_iso(get("ce_time")) or timestamp,
        method=get("http-method", "POST"),
        path=get("http-path", ""),
        content_type=get("content-type", "application/json"),
        headers={name: texts[name] for name in KEPT_HEADERS if name in texts},
        accounts=decode_patterns(texts[ACCOUNTS_HEADER]) if ACCOUNTS_HEADER in texts else None,
    )


def source_of(headers: Iterable[tuple[str, bytes | None]], provider: str) -> str:
    """Return the source of a raw record by its headers; the provider if they lack it."""
    for name, value in headers:
        if name == "ce_source" and value is not None:
            return _source(value)
    return provider


@lru_cache(maxsize=1024)  # few sources, each in many webhooks
def _source(header: bytes) -> str:
    return header.decode("utf-8", "replace").removeprefix(_SOURCE_PREFIX)


def cloud_event(
    *,
    type_: str,
    id_: str,
    source: str,
    time: int,
    subject: bytes | None = None,
    content_type: str = "application/json",
) -> list[tuple[str, bytes]]:
    """Return CloudEvents 1.0 attributes as Kafka headers (protocol binding, binary mode)."""
    fixed = _fixed_attributes(type_, source, content_type)
    at = ("ce_time", _time_header(time))
    if subject is None:
        return [*fixed, ("ce_id", id_.encode()), at]
    return [*fixed, ("ce_id", id_.encode()), ("ce_subject", subject), at]


@lru_cache(maxsize=1024)  # the outputs of one fact share its time
def _time_header(time: int) -> bytes:
    return to_iso(time).encode()


@lru_cache(maxsize=64)  # few combinations, each in many records
def _fixed_attributes(type_: str, source: str, content_type: str) -> tuple[tuple[str, bytes], ...]:
    schema = schema_of(type_)
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", type_.encode()),
        ("content-type", content_type.encode()),
        *((("ce_dataschema", schema.encode()),) if schema else ()),
    )


def to_iso(time: int) -> str:
    """Return Unix milliseconds as RFC 3339 in UTC, limited to the years 1970 to 9999."""
    minute, ms = divmod(max(0, min(time, _LAST)), 60_000)
    return f"{_minute(minute)}{ms // 1000:02}.{ms % 1000:03}Z"


@lru_cache(maxsize=1024)  # many times are of the same minute
def _minute(number: int) -> str:
    return datetime.fromtimestamp(60 * number, UTC).strftime("%Y-%m-%dT%H:%M:")


def _from_iso(text: str | None) -> int | None:
    """Return Unix milliseconds; None if it is no time, has no zone, or is before 1970."""
    try:
        moment = datetime.fromisoformat(text) if text else None
        time = round(moment.timestamp() * 1000) if moment and moment.tzinfo else -1
    except (ValueError, OverflowError):
        return None
    return time if 0 <= time <= _LAST else None
