"""The contract supports other kinds of proof: these tests define some and check requests."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import ClassVar, Literal
from urllib.parse import parse_qsl

import pytest

from ingest.accept_webhook import Rejected, Screened, Source, accept, screen
from ingest.sources.proofs.comparison import among, digest
from ingest.sources.proofs.contract import (
    TOLERANCE,
    Headers,
    Needs,
    Proof,
    Proven,
    Reply,
    Request,
    SecretProof,
    Verdict,
    timely,
)
from ingest.sources.proofs.hmac_signatures import signatures
from schemas.webhook import RawWebhook

_NOW = (1_767_225_600_000,)
_SECRET = b"a secret of 22 bytes.."
_PLACES = {"secrets": ["env:A"]}


class Challenged(SecretProof):
    """A GET with a token and a challenge is a handshake; a webhook has a signature."""

    needs: ClassVar[Needs] = "head and body"
    handshakes: ClassVar[tuple[str, ...]] = ("GET",)

    auth: Literal["challenged"] = "challenged"

    def expects(self, request: Request) -> bool:
        return request.only(b"x-sig") is not None

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        del now
        if request.method == "GET":
            query = dict(parse_qsl(request.path.partition("?")[2]))
            token = digest(query.get("token", "").encode())
            known = among([token], [digest(secret) for secret in secrets])
            return Reply(query.get("challenge", "").encode()) if known else None
        given = (request.only(b"x-sig") or b"").split(b",")
        right = signatures(secrets, "sha256", "hex", request.body or b"")
        if not among(given, right):
            return None
        # Some providers send the handshake as a signed webhook.
        return Reply(b"{}", "application/json") if request.body == b"ping" else Proven(request.path)


class SignedForm(SecretProof):
    """The URL and the sorted form fields are signed."""

    needs: ClassVar[Needs] = "head and body"

    auth: Literal["signed-form"] = "signed-form"

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        del now
        fields = sorted(parse_qsl((request.body or b"").decode(), keep_blank_values=True))
        text = "".join(name + value for name, value in fields)
        right = signatures(secrets, "sha1", "base64", request.url.encode(), text.encode())
        return Proven(request.path) if among([request.only(b"x-sig") or b""], right) else None


class Timed(Proof):
    """A time in a header, and keys that are not the secrets themselves."""

    auth: Literal["timed"] = "timed"

    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        sent_at = int(request.only(b"x-time") or b"0")
        fresh = timely(sent_at, now)
        return Proven("") if fresh and among([request.only(b"x-key") or b""], secrets) else None

    def kept(self, secret: bytes) -> bytes:
        return b64decode(secret)


def outcome(
    proof: Proof,
    *,
    method: str = "POST",
    target: bytes = b"a",
    headers: Headers = (),
    body: bytes = b"",
    secret: bytes = _SECRET,
) -> str | bytes:
    """Return the outcome of a request: `<step>: <cause>`, a reply's body, or the stored path."""
    source = Source("a", "whapi", proof, (proof.kept(secret),))
    step = "head"
    try:
        screened = screen(
            {"a": source},
            100,
            method=method,
            target=target,
            headers=headers,
            peer="",
            now=_NOW,
        )
        if isinstance(screened, Screened):
            step = "body"
            result: RawWebhook | Reply = accept(screened, 100, body=body, now=_NOW, id_="id-1")
        else:
            result = screened
    except Rejected as rejected:
        return f"{step}: {rejected.cause}"
    return result.body if isinstance(result, Reply) else f"stored: {result.path}"


def _mac(body: bytes) -> bytes:
    return signatures([_SECRET], "sha256", "hex", body)[0]


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "expected"),
    [
        ("GET", b"a?token=a+secret+of+22+bytes..&challenge=42", [], b"", b"42"),
        ("GET", b"a?token=guess&challenge=42", [], b"", "head: unproven"),
        ("GET", b"a", [], b"", "head: unproven"),
        ("HEAD", b"a", [], b"", "head: method"),
        ("POST", b"a?token=a+secret+of+22+bytes..&challenge=42", [], b"", "head: unproven"),
        ("POST", b"a/x", [(b"x-sig", _mac(b"{}"))], b"{}", "stored: /x"),
        ("POST", b"a/x", [(b"x-sig", b"00," + _mac(b"{}"))], b"{}", "stored: /x"),
        ("POST", b"a/x", [(b"x-sig", _mac(b"{}"))], b"{ }", "body: unproven"),
        ("POST", b"a", [(b"x-sig", _mac(b"ping"))], b"ping", b"{}"),
        ("GET", b"a", [(b"x-sig", _mac(b""))], b"", "head: unproven"),
    ],
)
def test_a_handshake_is_answered_and_not_stored(
    method: str, target: bytes, headers: Headers, body: bytes, expected: str | bytes
) -> None:
    """By its head with its own method, or with the body; without a proof it gets no reply."""
    proof = Challenged.model_validate(_PLACES)
    assert outcome(proof, method=method, target=target, headers=headers, body=body) == expected


def test_a_handshake_method_stores_nothing() -> None:
    """A kind that returns no `Reply` for a handshake's method stores nothing."""

    class Careless(Challenged):
        """Accepts every request."""

        def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Proven:
            del secrets, now
            return Proven(request.path)

    assert outcome(Careless.model_validate(_PLACES), method="GET") == "head: unproven"


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        (b"a/x?y=1", b"b=2&a=1", "stored: /x?y=1"),
        (b"a/x?y=1", b"a=1&b=2", "stored: /x?y=1"),
        (b"a/x?y=2", b"a=1&b=2", "body: unproven"),
        (b"a/x?y=1", b"a=1&b=3", "body: unproven"),
    ],
)
def test_url_and_form_fields_can_be_signed(target: bytes, body: bytes, expected: str) -> None:
    """A kind receives the URL after the host, and the body as it was sent."""
    [signature, *_] = signatures([_SECRET], "sha1", "base64", b"/webhooks/a/x?y=1", b"a1b2")
    proof = SignedForm.model_validate(_PLACES)
    assert outcome(proof, target=target, headers=[(b"x-sig", signature)], body=body) == expected


@pytest.mark.parametrize(
    ("seconds", "key", "expected"),
    [
        (0, b"key", "stored: "),
        (TOLERANCE, b"key", "stored: "),
        (-TOLERANCE - 1, b"key", "head: unproven"),
        (0, b"a2V5", "head: unproven"),
    ],
)
def test_a_head_can_have_a_time_and_a_key(seconds: int, key: bytes, expected: str) -> None:
    """A kind that needs only the head receives the time, and chooses its key for a secret."""
    stamp = str(_NOW[0] // 1000 + seconds).encode()
    headers = [(b"x-time", stamp), (b"x-key", key)]
    assert outcome(Timed(), headers=headers, secret=b64encode(b"key")) == expected
