"""The decision about a webhook: whether it is accepted, and the `RawWebhook` it becomes. Pure.

The decision has two steps, so that a body is read only if it may be accepted. `screen` checks the
request before its body; `accept` makes the `RawWebhook` from the body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from ingest.sources.ip_allowlist import AllowList
from ingest.sources.proofs.contract import (
    Headers,
    Proof,
    Proven,
    Reply,
    Request,
    Verdict,
)
from ingest.sources.proofs.no_proof import NO_PROOF
from providers import NAMES, import_provider
from schemas.accounts import Patterns
from schemas.webhook import KEPT_HEADERS, RawWebhook, Uptime

# The most bytes of the path and of a header in one record: with a body of the largest size, the
# record still fits Kafka's 1 MiB.
MAX_PATH = 8 * 1024
MAX_HEADER = 1024

Cause = Literal[
    "unknown-source",
    "method",
    "address",
    "unproven",
    "too-slow",
    "too-large",
    "overloaded",
    "not-durable",
    "shutting-down",
]

STATUS: Mapping[Cause, int] = MappingProxyType(
    {
        "unknown-source": 404,
        "method": 405,
        "address": 401,
        "unproven": 401,
        "too-slow": 408,
        "too-large": 413,
        "overloaded": 503,
        "not-durable": 503,
        "shutting-down": 503,
    }
)

# The default content type of a CloudEvent (CloudEvents 1.0, section 3.1.1).
_CONTENT_TYPE = "application/json"

_KEPT = {name.encode(): name for name in KEPT_HEADERS | {"content-type"}}


class Rejected(Exception):
    """The webhook is refused: `cause` is the reason, `status` is the HTTP status of the answer.

    `allow` are the HTTP methods that the source accepts, for the cause `method`.
    """

    def __init__(self, cause: Cause, allow: tuple[str, ...] = ()) -> None:
        super().__init__(cause)
        self.cause: Cause = cause
        self.status = STATUS[cause]
        self.allow = allow


@dataclass(frozen=True, slots=True)
class Source:
    """A sender of webhooks: its name in the URL, its provider and its proof.

    `secrets` are the keys or digests that the proof makes of the secrets. Without `addresses`, a
    request may come from any address. Without `accounts`, it may report on every account.
    """

    name: str
    provider: str
    proof: Proof = NO_PROOF
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    addresses: AllowList | None = None
    accounts: Patterns | None = None
    methods: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Look up the accepted HTTP methods: of webhooks, and of verification handshakes."""
        methods = (*import_provider.proof(self.provider).methods, *self.proof.handshakes)
        object.__setattr__(self, "methods", methods)


# Without a sources file, each provider is a source under its own name.
SOURCES: Mapping[str, Source] = MappingProxyType({name: Source(name, name) for name in NAMES})


class Screened(Struct, frozen=True, gc=False):
    """A request that passed all checks before its body.

    `path` is None if the proof needs the body.
    """

    source: Source
    request: Request
    content_type: str
    headers: Mapping[str, str]
    path: str | None

    def __repr__(self) -> str:
        return f"Screened(source={self.source!r}, request={self.request!r})"


def screen(
    sources: Mapping[str, Source],
    max_body: int,
    *,
    method: str,
    target: bytes,
    headers: Headers,
    peer: str,
    now: Sequence[int],
) -> Screened | Reply:
    """Check a request before its body; raises `Rejected`. A `Reply` answers a handshake.

    `target` is the part of the request line after `/webhooks/`, as sent: undecoded, with the query
    string. `headers` have lower-case names. `max_body` is in bytes. `peer` is the address at the
    other end of the connection. `now` are clock readings in Unix milliseconds (see `accept`).
    """
    name, path = split(target)
    source = sources.get(name)
    if source is None:
        raise Rejected("unknown-source")
    if method not in source.methods:
        raise Rejected("method", source.methods)
    if source.addresses is not None and not source.addresses.admits(peer, headers):
        raise Rejected("address")
    request = Request(method, name, path, headers)
    verdict = _before_body(source, request, now)
    if isinstance(verdict, Reply):
        return verdict
    kept: dict[str, str] = {}
    for header, value in headers:
        if header in _KEPT:
            _keep(kept, _KEPT[header], value)
        elif header == b"content-length" and _number(value) > max_body:
            raise Rejected("too-large")
    if len(path) > MAX_PATH:
        raise Rejected("too-large")
    content_type = kept.pop("content-type", _CONTENT_TYPE)
    return Screened(source, request, content_type, kept, verdict.path if verdict else None)


def accept(
    screened: Screened,
    max_body: int,
    *,
    body: bytes,
    now: Sequence[int],
    id_: str,
    uptime: Uptime | None = None,
) -> RawWebhook | Reply:
    """Return the webhook to publish, or raise `Rejected`; a `Reply` answers a handshake.

    `now` is Kafka's time in Unix milliseconds and, if it may differ, this machine's time. The time
    of a signature must be close to one of them, since one of the two clocks is right.
    """
    if len(body) > max_body:
        raise Rejected("too-large")
    source, path = screened.source, screened.path
    if path is None:
        request = screened.request.with_body(body)
        verdict = _proven(source.proof.check(request, source.secrets, now))
        if isinstance(verdict, Reply):
            return verdict
        path = verdict.path
    return RawWebhook(
        id=id_,
        source=source.name,
        provider=source.provider,
        body=body,
        received_at=now[0],
        method=screened.request.method,
        path=path,
        content_type=screened.content_type,
        headers=screened.headers,
        accounts=source.accounts,
        uptime=uptime,
    )


def split(target: bytes) -> tuple[str, str]:
    """Return the source's name and the rest of the URL, both as sent; `target` as in `screen`."""
    text = target.decode("latin-1")
    name = text.partition("?")[0].partition("/")[0]
    return name, text[len(name) :]


def _before_body(source: Source, request: Request, now: Sequence[int]) -> Proven | Reply | None:
    """Return the verdict on a head, or None if the proof needs the body; raises `Rejected`."""
    proof = source.proof
    if request.method in proof.handshakes:
        reply = proof.check(request, source.secrets, now)
        if not isinstance(reply, Reply):
            raise Rejected("unproven")
        return reply
    if proof.needs == "head":
        return _proven(proof.check(request, source.secrets, now))
    if not proof.expects(request):
        raise Rejected("unproven")
    return None


def _proven(verdict: Verdict) -> Proven | Reply:
    if verdict is None:
        raise Rejected("unproven")
    return verdict


def _number(digits: bytes) -> int:
    """Return a declared length; 0 if it is invalid, since the body itself is measured too."""
    return int(digits) if digits.isdigit() and len(digits) < MAX_HEADER else 0


def _keep(kept: dict[str, str], name: str, value: bytes) -> None:
    """Add a header to `kept`; a repeated one is joined with commas (RFC 9110, section 5.2).

    A header that is too long is omitted: if it were cut, two request ids could become equal.
    """
    text = value.decode("latin-1")
    joined = f"{kept[name]}, {text}" if name in kept else text
    if len(joined) <= MAX_HEADER:
        kept[name] = joined
