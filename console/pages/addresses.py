"""Addresses of pages: the state of a page is its URL. Pure."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlencode


def message_path(key: str) -> str:
    """Return the path of a message's page."""
    return f"/messages/{quote(key, safe='/:@+')}"


def record_path(topic: str, partition: int, offset: int) -> str:
    """Return the path of a record's page."""
    return f"/records/{quote(topic, safe='')}/{partition}/{offset}"


def changed(path: str, query: str, **changes: object) -> str:
    """Return an address with some parameters changed; None or "" leaves one out."""
    kept = [(name, value) for name, value in parse_qsl(query) if name not in changes]
    added = [
        (name, str(one))
        for name, value in changes.items()
        for one in (value if isinstance(value, (list, tuple)) else [value])
        if one not in (None, "")
    ]
    return address(path, [*kept, *added])


def address(path: str, parameters: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Return a path with its parameters, without the empty ones."""
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    text = urlencode([(name, value) for name, value in pairs if value not in (None, "")])
    return f"{path}?{text}" if text else path
