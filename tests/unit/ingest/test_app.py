"""The answers of the webhook endpoint that need no Kafka."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from starlette.types import Message

from ingest.accept_webhook import Source
from ingest.app import WebhookEndpoint
from ingest.delivery import Durable
from ingest.sources.proofs.contract import Proof, Reply, Request, Verdict
from service.settings import Settings


class Echo(Proof):
    """A handshake by GET repeats the query string."""

    handshakes: ClassVar[tuple[str, ...]] = ("GET",)

    auth: Literal["echo"] = "echo"

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        del secrets, now
        return Reply(request.path.removeprefix("?").encode())


async def _answer(method: str, query: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes]:
    settings = Settings()
    endpoint = WebhookEndpoint(
        settings, Durable(settings), {"shop": Source("shop", "whapi", Echo())}
    )
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body of a handshake is not read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "raw_path": b"/webhooks/shop",
        "query_string": query,
        "headers": [],
        "client": ("127.0.0.1", 1),
    }
    await endpoint(scope, receive, send)
    start, end = sent
    return start["status"], dict(start["headers"]), end.get("body", b"")


async def test_a_handshake_gets_its_reply() -> None:
    """200 and the reply's body, before a body of the request is read."""
    status, headers, body = await _answer("GET", b"challenge=42")
    assert (status, body) == (200, b"challenge=42")
    assert headers == {b"content-length": b"12", b"content-type": b"text/plain"}


async def test_405_lists_the_methods_of_a_source() -> None:
    """405 lists the methods of its provider's webhooks and of its proof's handshakes."""
    status, headers, body = await _answer("HEAD")
    assert (status, body) == (405, b"")
    assert headers[b"allow"] == b"POST, PUT, PATCH, DELETE, GET"
