"""Webhooks on their way to ingest: one HTTP request each. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cli.messages import CommandProblem
from schemas.webhook import RawWebhook

JSON: Mapping[str, str] = MappingProxyType({"content-type": "application/json"})


@dataclass(frozen=True, slots=True)
class Post:
    """One request to `/webhooks/<source><path>`; `path` may hold a query string."""

    source: str
    body: bytes
    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    def received(self, at: int, id_: str) -> RawWebhook:
        """The webhook that ingest makes of it, at a time in Unix milliseconds."""
        return RawWebhook(
            id=id_,
            source=self.source,
            provider=self.source,
            body=self.body,
            received_at=at,
            method=self.method,
            path=self.path,
        )


def headers_of(texts: Iterable[str]) -> dict[str, str]:
    """HTTP headers with lower-case names, from texts such as `X-Request-Id: 42`."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (colon and name.strip()) or not text.isprintable():
            raise CommandProblem(
                "header_invalid", "the header {text!r} should be written as name:value", text=text
            )
        headers[name.strip().lower()] = value.strip()
    return headers
