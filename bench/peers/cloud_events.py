"""CloudEvents headers as a Python peer writes them. Pure."""

from datetime import UTC, datetime

Headers = list[tuple[str, bytes]]


def headers_of(kind: str, id_: str, key: str, time_ms: int, source: str = "/peer") -> Headers:
    """Return the attributes of a record in Kafka's binary mode; the time is Unix milliseconds."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", id_.encode()),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_time", moment.encode()),
        ("ce_subject", key.encode()),
        ("content-type", b"application/json"),
    ]
