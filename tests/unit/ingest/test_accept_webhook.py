"""The requests that ingest accepts and refuses, decided without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.accept_webhook import (
    MAX_HEADER,
    MAX_PATH,
    SOURCES,
    STATUS,
    Rejected,
    Screened,
    Source,
    accept,
    screen,
)
from ingest.sources.config import MOST_ACCOUNT_BYTES
from ingest.sources.proofs.contract import Reply
from providers import NAMES
from schemas.topics import MAX_BODY
from schemas.webhook import RawWebhook, from_record, to_headers

_NOW = 1_767_225_600_000
_CAP = 100


def _admit(
    target: bytes = b"whapi",
    *,
    method: str = "POST",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"{}",
) -> RawWebhook:
    screened = screen(
        SOURCES,
        _CAP,
        method=method,
        target=target,
        headers=headers or [],
        peer="127.0.0.1",
        now=[_NOW],
    )
    return _accepted(screened, body)


def _accepted(screened: Screened | Reply, body: bytes, cap: int = _CAP) -> RawWebhook:
    assert isinstance(screened, Screened)
    webhook = accept(screened, cap, body=body, now=[_NOW], id_="0" * 32)
    assert isinstance(webhook, RawWebhook)
    return webhook


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_each_provider_is_a_source_with_four_methods(provider: str, method: str) -> None:
    """A webhook to a provider's name becomes its record, with any of the methods."""
    assert _admit(provider.encode(), method=method) == RawWebhook(
        id="0" * 32,
        source=provider,
        provider=provider,
        body=b"{}",
        received_at=_NOW,
        method=method,
    )


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"whapi", ""),
        (b"whapi/", "/"),
        (b"whapi/messages/post", "/messages/post"),
        (b"whapi?a=1&b=%20", "?a=1&b=%20"),
        (b"whapi/x%2Fy?q=/z?", "/x%2Fy?q=/z?"),
        (b"whapi?next=/a/b", "?next=/a/b"),
        (b"whapi//../x", "//../x"),
        (b"whapi/\xe9", "/\xe9"),
        (b"whapi/" + b"x" * (MAX_PATH - 1), "/" + "x" * (MAX_PATH - 1)),
    ],
)
def test_path_and_query_are_kept_as_sent(target: bytes, path: str) -> None:
    """The URL after the source is neither decoded nor normalised."""
    webhook = _admit(target)
    assert (webhook.source, webhook.path) == ("whapi", path)


@pytest.mark.parametrize(
    ("sent", "content_type", "kept"),
    [
        ([], "application/json", {}),
        ([(b"content-type", b"text/plain; charset=x")], "text/plain; charset=x", {}),
        (
            [(b"x-request-id", b"r1"), (b"user-agent", b"\xff"), (b"content-encoding", b"gzip")],
            "application/json",
            {"x-request-id": "r1", "user-agent": "\xff", "content-encoding": "gzip"},
        ),
        ([(b"authorization", b"secret"), (b"cookie", b"secret")], "application/json", {}),
        (
            [(b"content-encoding", b"gzip"), (b"content-encoding", b"br")],
            "application/json",
            {"content-encoding": "gzip, br"},
        ),
        (
            [(b"x-request-id", b"r" * MAX_HEADER), (b"user-agent", b"u" * (MAX_HEADER + 1))],
            "application/json",
            {"x-request-id": "r" * MAX_HEADER},
        ),
        ([(b"content-type", b"t" * (MAX_HEADER + 1))], "application/json", {}),
    ],
)
def test_headers_on_the_list_are_kept(
    sent: list[tuple[bytes, bytes]], content_type: str, kept: dict[str, str]
) -> None:
    """Listed headers are kept whole; over-long and unlisted ones are omitted."""
    webhook = _admit(headers=sent)
    assert (webhook.content_type, webhook.headers) == (content_type, kept)


@pytest.mark.parametrize("body", [b"", b"\x00\xff\n", b"x" * _CAP])
def test_a_body_is_accepted_up_to_the_largest_size(body: bytes) -> None:
    """Any bytes are a body, up to and including the largest size."""
    declared = [(b"content-length", str(len(body)).encode())]
    assert _admit(headers=declared, body=body).body == body


@pytest.mark.parametrize("length", [b"", b"-1", b"many", b"9" * 5000])
def test_an_invalid_length_is_ignored(length: bytes) -> None:
    """A declared length that is not a number has no effect; the body itself is measured."""
    assert _admit(headers=[(b"content-length", length)]).body == b"{}"


@pytest.mark.parametrize(
    ("target", "method", "headers", "body", "status", "cause"),
    [
        (b"", "POST", [], b"", 404, "unknown-source"),
        (b"/whapi", "POST", [], b"", 404, "unknown-source"),
        (b"unknown", "POST", [], b"", 404, "unknown-source"),
        (b"WHAPI", "POST", [], b"", 404, "unknown-source"),
        (b"%77hapi", "POST", [], b"", 404, "unknown-source"),
        (b"whapi\x00", "POST", [], b"", 404, "unknown-source"),
        (b"unknown", "GET", [], b"", 404, "unknown-source"),
        (b"whapi", "GET", [], b"", 405, "method"),
        (b"whapi", "HEAD", [], b"", 405, "method"),
        (b"whapi", "OPTIONS", [], b"", 405, "method"),
        (b"whapi", "post", [], b"", 405, "method"),
        (b"whapi", "POST", [], b"x" * (_CAP + 1), 413, "too-large"),
        (b"whapi", "POST", [(b"content-length", b"101")], b"", 413, "too-large"),
        (b"whapi/" + b"x" * MAX_PATH, "POST", [], b"", 413, "too-large"),
        (b"whapi?" + b"x" * MAX_PATH, "POST", [], b"", 413, "too-large"),
    ],
)
def test_refused_requests(
    *,
    target: bytes,
    method: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    status: int,
    cause: str,
) -> None:
    """Each refusal has its status and its cause."""
    with pytest.raises(Rejected) as refusal:
        _admit(target, method=method, headers=headers, body=body)
    assert (refusal.value.status, refusal.value.cause) == (status, cause)


def test_every_status_is_one_of_the_published() -> None:
    """No cause leads to an undocumented status."""
    assert set(STATUS.values()) == {401, 404, 405, 408, 413, 503}


def test_an_unauthenticated_sender_does_not_learn_the_reason() -> None:
    """A missing proof and a wrong address get the same answer."""
    assert STATUS["unproven"] == STATUS["address"] == 401


def test_a_source_may_have_its_own_name() -> None:
    """The record names the source, and goes to its provider's topic."""
    sources = {"shop": Source("shop", "whapi")}
    screened = screen(
        sources, _CAP, method="POST", target=b"shop/x", headers=[], peer="", now=[_NOW]
    )
    webhook = _accepted(screened, b"")
    assert (webhook.source, webhook.provider, webhook.path) == ("shop", "whapi", "/x")


_HEADER = st.tuples(
    st.sampled_from([b"x-request-id", b"user-agent", b"content-type", b"other", b"content-length"]),
    st.binary(max_size=20),
)


@given(st.binary(max_size=30), st.lists(_HEADER, max_size=6), st.binary(max_size=_CAP))
def test_an_accepted_webhook_survives_kafka(
    rest: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Any accepted webhook is read back from its record unchanged; no byte breaks a header."""
    try:
        webhook = _admit(b"whapi/" + rest, headers=headers, body=body)
    except Rejected as refusal:
        assert refusal.cause == "too-large"  # noqa: PT017 (a declared length may say so)
        return
    assert from_record("whapi", webhook.body, to_headers(webhook), 0) == webhook


def test_a_null_header_is_ignored() -> None:
    """A record that a user writes to a raw topic may have headers without a value."""
    read = from_record("whapi", b"{}", [("ce_id", None), ("x-request-id", None)], 7)
    assert (read.id, read.headers, read.received_at) == ("", {}, 7)


def test_the_representation_of_a_webhook_has_no_contents() -> None:
    """Code that prints a webhook by accident prints no data of the sender."""
    sent = [(b"x-request-id", b"hunter2")]
    screened = screen(
        SOURCES,
        _CAP,
        method="POST",
        target=b"whapi/hunter2",
        headers=sent,
        peer="127.0.0.1",
        now=[_NOW],
    )
    webhook = _accepted(screened, b"hunter2")
    assert webhook.body == b"hunter2"
    assert "hunter2" not in f"{screened!r} {webhook!r}"


def test_the_largest_record_fits_the_broker() -> None:
    """Body, path and kept headers at their bounds stay below Kafka's default of 1 048 588 bytes."""
    headers = [
        (name, b"\xff" * MAX_HEADER)
        for name in (b"x-request-id", b"user-agent", b"content-encoding", b"content-type")
    ]
    target = b"whapi/" + b"\xff" * (MAX_PATH - 1)
    accounts = ("A" * (MOST_ACCOUNT_BYTES - len('[""]')),)
    sources = {"whapi": Source("whapi", "whapi", accounts=accounts)}
    screened = screen(
        sources, MAX_BODY, method="DELETE", target=target, headers=headers, peer="", now=[_NOW]
    )
    webhook = _accepted(screened, b"x" * MAX_BODY, MAX_BODY)
    assert webhook.accounts == accounts
    assert len(dict(to_headers(webhook))["source-accounts"]) == MOST_ACCOUNT_BYTES
    size = len(webhook.body) + sum(len(name) + len(value) for name, value in to_headers(webhook))
    assert size < 1_048_588 - 1024
