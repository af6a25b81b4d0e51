"""Authentication of senders, every kind on one ingest, over real sockets and a real Kafka."""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from service.errors import Problem
from tests.broker.reading import Read
from tests.broker.running_ingest import Ingest, running, settings, stored

_OLD = secrets.token_hex(16)
_NEW = secrets.token_hex(16)
_KEY = secrets.token_bytes(24)
_BODY = b'{"statuses": [1]}\n'

_FILE = """
trusted_proxies = ["127.0.0.0/8"]

[sources]
anybody = { provider = "whapi", auth = "none" }
static = { provider = "whapi", auth = "header", header = "X-Token", secrets = [OLD, NEW] }
bearer = { provider = "whapi", auth = "bearer", secrets = [OLD, NEW] }
basic = { provider = "whapi", auth = "basic", user = "us", secrets = [NEW] }
path = { provider = "whapi", auth = "path", secrets = [OLD, NEW] }
hmac = { provider = "smsmanager", auth = "hmac", secrets = [OLD, NEW] }
standard = { provider = "whapi", auth = "standard-webhooks", secrets = ["env:TEST_SENDERS_KEY"] }
near = { provider = "whapi", auth = "none", addresses = ["203.0.113.0/24"] }
"""

Headers = Mapping[str, str]


@pytest.fixture(scope="module")
async def ingest(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    """One ingest for this module; tests identify their records by a mark in the path."""
    folder = tmp_path_factory.mktemp("senders")
    (folder / "old").write_text(f"{_OLD}\n")
    file = folder / "sources.toml"
    places = _FILE.replace("OLD", f'"file:{folder}/old"').replace("NEW", '"env:TEST_SENDERS_NEW"')
    file.write_text(places)
    namespace = f"t-{secrets.token_hex(4)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_SENDERS_NEW", _NEW)
        patch.setenv("TEST_SENDERS_KEY", f"whsec_{b64encode(_KEY).decode()}")
        async with running(settings(kafka, namespace, sources=file)) as it:
            yield it


def _signed(secret: str, body: bytes = _BODY) -> Headers:
    return {"x-request-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def _standard(key: bytes = _KEY, seconds: int = 0) -> Headers:
    stamp = str(round(time.time()) + seconds)
    mac = hmac.digest(key, b"msg_1.%s.%s" % (stamp.encode(), _BODY), "sha256")
    signature = f"v1,AAAA v1,{b64encode(mac).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}


def _basic(pair: str) -> Headers:
    return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _proven() -> list[tuple[str, Headers]]:
    """Return every kind of valid proof, with either secret."""
    return [
        ("anybody", {}),
        ("static", {"x-token": _OLD}),
        ("static", {"X-TOKEN": _NEW}),
        ("bearer", {"authorization": f"Bearer {_NEW}"}),
        ("basic", _basic(f"us:{_NEW}")),
        (f"path/{_OLD}", {}),
        (f"path/{_NEW}", {}),
        ("hmac", _signed(_OLD)),
        ("hmac", _signed(_NEW)),
        ("standard", _standard()),
        ("near", {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}),
    ]


def _unproven() -> list[tuple[str, Headers]]:
    """Return every kind with a missing or wrong proof."""
    return [
        ("static", {}),
        ("static", {"x-token": _NEW[:-1]}),
        ("bearer", {"authorization": f"Bearer {_OLD[::-1]}"}),
        ("basic", _basic(f"me:{_NEW}")),
        ("path", {}),
        (f"path/{_OLD[::-1]}", {}),
        (f"path//{_OLD}", {}),
        ("hmac", {}),
        ("hmac", _signed(_OLD[::-1])),
        ("hmac", _signed(_NEW, _BODY.rstrip())),
        ("standard", {}),
        ("standard", _standard(_KEY[::-1])),
        ("standard", _standard(seconds=-360)),
        ("standard", _standard(seconds=360)),
        ("near", {}),
        ("near", {"x-forwarded-for": "203.0.113.9, 198.51.100.1"}),
        ("near", {"x-forwarded-for": "203.0.113.9, unknown"}),
    ]


async def _everything(ingest: Ingest, mark: str) -> list[Read]:
    return [
        record
        for provider in ("whapi", "smsmanager")
        for record in await stored(ingest, mark, provider)
    ]


async def test_a_proven_body_is_stored_without_its_proof(ingest: Ingest, mark: str) -> None:
    """200, and the record has the body and the path after the source's name and secret."""
    expected = Counter[tuple[bytes, bytes]]()
    for number, (source, headers) in enumerate(_proven()):
        path = f"/{mark}/{number}?a=%20b"
        url = f"/webhooks/{source}{path}"
        answer = await ingest.client.post(url, content=_BODY, headers=headers)
        assert (source, answer.status_code, answer.content) == (source, 200, b"")
        expected[f"/webhooks/{source.partition('/')[0]}".encode(), path.encode()] += 1
    records = await _everything(ingest, mark)
    assert expected == Counter(
        (record.headers["ce_source"], record.headers["http-path"]) for record in records
    )
    assert {record.value for record in records} == {_BODY}
    assert {record.topic.rpartition(".")[2] for record in records} == {"whapi", "smsmanager"}
    kept = b" ".join(value for record in records for value in record.headers.values())
    shown = [value for _, headers in _proven() for value in headers.values()]
    assert not [one for one in (_OLD, _NEW, *shown) if one.encode() in kept]


async def test_an_unproven_body_is_not_stored(ingest: Ingest, mark: str) -> None:
    """401 and the same empty answer for each mistake; a valid webhook after it is stored."""
    for source, headers in _unproven():
        url = f"/webhooks/{source}/{mark}"
        answer = await ingest.client.post(url, content=_BODY, headers=headers)
        assert (source, answer.status_code, answer.content) == (source, 401, b"")
        assert set(answer.headers) == {"date", "content-length"}
    for source, headers in (("anybody", {}), ("hmac", _signed(_NEW, b"known"))):
        url = f"/webhooks/{source}/{mark}"
        assert (await ingest.client.post(url, content=b"known", headers=headers)).is_success
    assert [record.value for record in await _everything(ingest, mark)] == [b"known"] * 2


@pytest.mark.parametrize("source", ["whapi", "smsmanager", "unknown"])
async def test_a_source_that_is_not_in_the_file_is_unknown(ingest: Ingest, source: str) -> None:
    """With a sources file, the providers' names are not sources."""
    assert (await ingest.client.post(f"/webhooks/{source}", content=_BODY)).status_code == 404


@pytest.mark.parametrize(
    "source", ["static", "bearer", "basic", "path/x", "hmac", "standard", "near"]
)
async def test_an_unauthenticated_sender_is_refused_before_the_body(
    ingest: Ingest, source: str
) -> None:
    """Without the header, segment or address of a proof, ingest does not wait for the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    head = f"POST /webhooks/{source} HTTP/1.1\nhost: x\ncontent-length: 9\n\n"
    writer.write(head.replace("\n", "\r\n").encode())
    assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()


@pytest.mark.parametrize(
    "headers",
    [
        f"x-token: {_NEW}\nx-token: {_NEW}\n",
        f"x-token: {_NEW}\nX-Token: \n",
        "x-token: \xe9\xff\n",
        f"x-token : {_NEW}\n",
        f"x-token: {_NEW},{_NEW}\n",
    ],
    ids=["twice", "once empty", "not ASCII", "space before colon", "listed"],
)
async def test_malformed_credentials_are_refused(ingest: Ingest, mark: str, headers: str) -> None:
    """Repeated, not ASCII, or malformed: refused and not stored."""
    head = f"POST /webhooks/static/{mark} HTTP/1.1\nhost: x\nconnection: close\n{headers}"
    answer = await ingest.raw(f"{head}content-length: 3\n\n", b"one")
    assert answer.split()[1] in {b"401", b"400"}
    assert await stored(ingest, mark) == []


async def test_the_body_of_a_refused_request_is_not_a_request(ingest: Ingest, mark: str) -> None:
    """A request within the unread body of another is not accepted; the next real one is."""
    inner = f"POST /webhooks/anybody/{mark} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    outer = f"POST /webhooks/static HTTP/1.1\nhost: x\ncontent-length: {len(inner)}\n\n"
    last = f"POST /webhooks/anybody/{mark} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    rest = f"{inner}{last}content-length: 4\r\n\r\nlast"
    answer = await ingest.raw(outer, rest.encode())
    statuses = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/")]
    assert statuses == [b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 200 OK"]
    assert [record.value for record in await stored(ingest, mark)] == [b"last"]


async def test_concurrent_requests_of_many_kinds_are_kept_apart(ingest: Ingest, mark: str) -> None:
    """Each of many concurrent requests, valid or not, gets its own answer."""
    posts: list[tuple[str, Headers, int]] = [
        ("static", {"x-token": _NEW}, 200),
        ("static", {"x-token": "x"}, 401),
        ("hmac", _signed(_NEW), 200),
        ("hmac", _signed("x"), 401),
        (f"path/{_NEW}", {}, 200),
        ("path/x", {}, 401),
        ("unknown", {}, 404),
    ] * 20
    answers = await asyncio.gather(
        *(
            ingest.client.post(f"/webhooks/{source}/{mark}", content=_BODY, headers=headers)
            for source, headers, _ in posts
        )
    )
    assert [one.status_code for one in answers] == [status for _, _, status in posts]
    records = await _everything(ingest, mark)
    sources = Counter(record.headers["ce_source"] for record in records)
    assert sources == {b"/webhooks/static": 20, b"/webhooks/hmac": 20, b"/webhooks/path": 20}


async def test_no_secret_is_logged(
    ingest: Ingest, mark: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    """The log contains no credential, valid or wrong, even at DEBUG."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    wrong = secrets.token_hex(16)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ingest.port}/webhooks/") as client:
        for secret, status in ((_NEW, 200), (wrong, 401)):
            for source, headers in (
                (f"path/{secret}", {}),
                ("static", {"x-token": secret}),
                ("bearer", {"authorization": f"Bearer {secret}"}),
            ):
                answer = await client.post(f"{source}/{mark}", content=b"x", headers=headers)
                assert answer.status_code == status
    assert len(await stored(ingest, mark)) == 3
    for secret in (_NEW, wrong):
        assert secret not in everything_logged.text


async def test_a_wrong_file_stops_ingest(kafka: str, namespace: str, tmp_path: Path) -> None:
    """Ingest does not start with a mistake in its sources file."""
    file = tmp_path / "sources.toml"
    file.write_text('[sources.shop]\nprovider = "whapi"\nauth = "bearer"\n')
    with pytest.raises(
        Problem, match=r"sources\.toml: sources\.shop\.secrets: auth = \"bearer\" needs this"
    ):
        async with running(settings(kafka, namespace, sources=file), create=False):
            pass
