"""Webhooks as HTTP requests to ingest. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cli.problem_sentences import CommandProblem
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
        """Return the webhook as ingest records it, at a time in Unix milliseconds."""
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
    """Parse HTTP headers such as `X-Request-Id: 42`; the names become lower case."""
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not (colon and name.strip()) or not text.isprintable():
            raise CommandProblem(
                "header_invalid", "the header {text!r} is not valid; write name:value", text=text
            )
        headers[name.strip().lower()] = value.strip()
    return headers
