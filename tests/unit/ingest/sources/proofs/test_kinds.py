"""The kinds of proof: each one valid, wrong, rotated, missing and repeated; and their laws."""

import hashlib
import hmac
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest.accept_webhook import Rejected, Source, accept, screen
from ingest.sources.proofs.contract import TOLERANCE, Headers, Reply, Request
from ingest.sources.proofs.hmac_signatures import Algorithm, Encoding
from ingest.sources.proofs.kinds import proof_of
from ingest.sources.proofs.standard_webhooks import key_of
from schemas.webhook import RawWebhook

OLD = b"the old secret of 26 bytes"
NEW = b"the new secret of 26 bytes"
KEY = bytes(range(24))
BOTH = (OLD, NEW)

_NOW = 1_767_225_600_000
_STAMP = str(_NOW // 1000).encode()
_BODY = b'{"statuses": [1]}'
_RAW = b'{"test": 2432232314}'


def _source(auth: str, *secrets: bytes, **options: str) -> Source:
    """Return a source of that kind, with the secrets that a file would only refer to."""
    places = {"secrets": ["env:A", "env:B"][: len(secrets)]} if secrets else {}
    proof = proof_of.validate_python({"auth": auth, **places, **options})
    return Source("a", "whapi", proof, tuple(map(proof.kept, secrets)))


def _whsec(key: bytes) -> bytes:
    return b"whsec_" + b64encode(key)


def accepted(
    source: Source, headers: Headers, path: str, body: bytes, now: tuple[int, ...]
) -> RawWebhook:
    """Return the webhook that a request becomes after both steps; raises `Rejected`."""
    screened = screen(
        {"a": source},
        len(body),
        method="POST",
        target=b"a" + path.encode("latin-1"),
        headers=headers,
        peer="",
        now=now,
    )
    assert not isinstance(screened, Reply)
    webhook = accept(screened, len(body), body=body, now=now, id_="id-1")
    assert not isinstance(webhook, Reply)
    return webhook


def proven(
    source: Source,
    headers: Headers = (),
    path: str = "",
    body: bytes = _BODY,
    now: int | tuple[int, ...] = _NOW,
) -> bool:
    """Whether a request passes both steps."""
    try:
        accepted(source, headers, path, body, now if isinstance(now, tuple) else (now,))
    except Rejected as rejected:
        assert rejected.cause == "unproven"  # noqa: PT017 - the cause is the assertion
        return False
    return True


def _mac(key: bytes, body: bytes = _BODY, algorithm: str = "sha256") -> bytes:
    return hmac.digest(key, body, algorithm)


def _basic(pair: bytes) -> bytes:
    return b"Basic " + b64encode(pair)


def _standard(key: bytes = KEY, id_: bytes = b"msg_1", stamp: bytes = _STAMP) -> Headers:
    mac = b64encode(_mac(key, id_ + b"." + stamp + b"." + _BODY))
    return [
        (b"webhook-id", id_),
        (b"webhook-timestamp", stamp),
        (b"webhook-signature", b"v1," + mac),
    ]


NOTHING = _source("none")
HEADER = _source("header", *BOTH, header="X-Token")
BEARER = _source("bearer", *BOTH)
BASIC = _source("basic", *BOTH, user="žofie")
PATH = _source("path", *BOTH)
HMAC = _source("hmac", *BOTH, header="X-Request-Signature", prefix="sha256=")
STANDARD = _source("standard-webhooks", _whsec(KEY), _whsec(NEW))

_PREFIXED = b"sha256=" + _mac(NEW).hex().encode()
_USER = "žofie:".encode()


@pytest.mark.parametrize(
    ("proof", "headers"),
    [
        (NOTHING, []),
        (HEADER, [(b"x-token", OLD)]),
        (HEADER, [(b"x-token", NEW)]),
        (HEADER, [(b"x-token", b" " + NEW + b"\t")]),
        (HEADER, [(b"x-other", b"\xff"), (b"x-token", NEW)]),
        (BEARER, [(b"authorization", b"Bearer " + OLD)]),
        (BEARER, [(b"authorization", b"bEARER  " + NEW)]),
        (BASIC, [(b"authorization", _basic(_USER + OLD))]),
        (BASIC, [(b"authorization", _basic(_USER + NEW))]),
        (HMAC, [(b"x-request-signature", b"sha256=" + _mac(OLD).hex().encode())]),
        (HMAC, [(b"x-request-signature", _PREFIXED)]),
        (HMAC, [(b"x-request-signature", b"sha256=" + _mac(NEW).hex().upper().encode())]),
        (STANDARD, _standard()),
        (STANDARD, _standard(NEW)),
    ],
)
def test_a_sender_with_a_secret_is_accepted(proof: Source, headers: Headers) -> None:
    """Either of two secrets is valid, in any accepted notation."""
    assert proven(proof, headers)


@pytest.mark.parametrize(
    ("proof", "headers"),
    [
        *((proof, []) for proof in (HEADER, BEARER, BASIC, HMAC, STANDARD)),
        (HEADER, [(b"x-token", b"")]),
        (HEADER, [(b"x-token", OLD[:-1])]),
        (HEADER, [(b"x-token", OLD + b"!")]),
        (HEADER, [(b"x-token", OLD + NEW)]),
        (HEADER, [(b"x-token", OLD + b", " + OLD)]),
        (HEADER, [(b"x-token", OLD.upper())]),
        (HEADER, [(b"x-token", b"\xff\x00")]),
        (HEADER, [(b"x-token", hashlib.sha256(OLD).digest())]),
        (HEADER, [(b"x-tokens", OLD)]),
        (HEADER, [(b"x-token", OLD), (b"x-token", OLD)]),
        (HEADER, [(b"x-token", OLD), (b"x-token", b"")]),
        (BEARER, [(b"authorization", OLD)]),
        (BEARER, [(b"authorization", b"Bearer")]),
        (BEARER, [(b"authorization", b"Bearer ")]),
        (BEARER, [(b"authorization", b"Bearer" + OLD)]),
        (BEARER, [(b"authorization", b"Basic " + OLD)]),
        (BEARER, [(b"authorization", b"Bearer \xc3\xa9")]),
        (BEARER, [(b"authorization", b"Bearer " + OLD), (b"authorization", b"Bearer " + NEW)]),
        (BASIC, [(b"authorization", _basic(b"zofie:" + OLD))]),
        (BASIC, [(b"authorization", _basic(_USER))]),
        (BASIC, [(b"authorization", b"Basic " + _USER + OLD)]),
        (BASIC, [(b"authorization", b"Basic \xff")]),
        (BASIC, [(b"authorization", b"Bearer " + b64encode(_USER + OLD))]),
        (BASIC, [(b"authorization", _basic(_USER + OLD)), (b"authorization", b"x")]),
        (HMAC, [(b"x-request-signature", _PREFIXED.removeprefix(b"sha256="))]),
        (HMAC, [(b"x-request-signature", b"sha256=")]),
        (HMAC, [(b"x-request-signature", b"sha256= " + _PREFIXED.removeprefix(b"sha256="))]),
        (HMAC, [(b"x-request-signature", b"sha256=\xff\xfe")]),
        (HMAC, [(b"x-request-signature", b"SHA256=" + _PREFIXED.removeprefix(b"sha256="))]),
        (HMAC, [(b"x-request-signature", _PREFIXED + b"00")]),
        (HMAC, [(b"x-request-signature", _PREFIXED)] * 2),
        (HMAC, [(b"x-request-signature", b"sha256=" + _mac(KEY).hex().encode())]),
        (HMAC, [(b"x-request-signature", b"sha256=" + _mac(NEW, b"").hex().encode())]),
        (HMAC, [(b"x-request-signature", b"sha256=" + b64encode(_mac(NEW)))]),
        (STANDARD, _standard(OLD)),
        *((STANDARD, [pair for pair in _standard() if pair != missing]) for missing in _standard()),
        *((STANDARD, [*_standard(), doubled]) for doubled in _standard()),
    ],
)
def test_a_sender_without_a_valid_secret_is_refused(proof: Source, headers: Headers) -> None:
    """Missing, wrong, cut, repeated, misspelt, not ASCII: each is refused without an error."""
    assert not proven(proof, headers)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("/" + NEW.hex(), ""),
        ("/" + OLD.hex(), ""),
        ("/" + NEW.hex() + "/", "/"),
        ("/" + NEW.hex() + "/messages/post?a=/b", "/messages/post?a=/b"),
        ("/" + NEW.hex() + "?a=1", "?a=1"),
    ],
)
def test_a_secret_segment_is_taken_out_of_the_path(path: str, left: str) -> None:
    """The path on Kafka does not contain it."""
    source = _source("path", OLD.hex().encode(), NEW.hex().encode())
    assert accepted(source, [], path, _BODY, (_NOW,)).path == left


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//" + NEW.hex(),
        "?" + NEW.hex(),
        "/?" + NEW.hex(),
        "/messages/" + NEW.hex(),
        "/" + NEW.hex()[:-1],
        "/" + NEW.hex() + "0",
        "/" + NEW.hex().upper(),
        "/%3" + NEW.hex(),
        "/" + NEW.hex() + "\xff",
    ],
)
def test_a_secret_anywhere_else_proves_nothing(path: str) -> None:
    """Only the first segment counts, exactly as the secret was issued."""
    assert not proven(_source("path", NEW.hex().encode()), path=path)


# RFC 4231, cases 1 and 2, and RFC 2202, case 2, for SHA-1.
@pytest.mark.parametrize(
    ("algorithm", "key", "data", "mac"),
    [
        (
            "sha256",
            b"\x0b" * 20,
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "sha256",
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "sha512",
            b"Jefe",
            b"what do ya want for nothing?",
            (
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
            ),
        ),
        (
            "sha1",
            b"Jefe",
            b"what do ya want for nothing?",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
    ],
)
def test_vectors_of_the_standard(algorithm: Algorithm, key: bytes, data: bytes, mac: str) -> None:
    """Published HMACs are accepted in each encoding, with padding and without."""
    raw = bytes.fromhex(mac)
    spelt: list[tuple[Encoding, bytes]] = [
        ("hex", mac.encode()),
        ("base64", b64encode(raw)),
        ("base64", b64encode(raw).rstrip(b"=")),
        ("base64url", urlsafe_b64encode(raw)),
        ("base64url", urlsafe_b64encode(raw).rstrip(b"=")),
    ]
    for encoding, text in spelt:
        proof = _source("hmac", key, header="X-Sig", algorithm=algorithm, encoding=encoding)
        assert proven(proof, [(b"x-sig", text)], body=data)
        assert not proven(proof, [(b"x-sig", text)], body=data + b" ")


def test_the_vector_of_standard_webhooks() -> None:
    """The example of the reference libraries is valid; with another time it is not."""
    proof = _source("standard-webhooks", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    assert proven(proof, headers, body=_RAW, now=1_614_265_330_000)
    headers[1] = (b"webhook-timestamp", b"1614265331")
    assert not proven(proof, headers, body=_RAW, now=1_614_265_330_000)


@pytest.mark.parametrize(
    "signatures",
    [
        b"v1,%s",
        b"v1,AAAA v1,%s",
        b"v1,%s v1,AAAA",
        b"v1a,AAAA v1,%s v2,AAAA",
        b"nonsense  v1,%s",
    ],
)
def test_one_of_several_signatures_is_enough(signatures: bytes) -> None:
    """A provider that rotates its secret signs with both; other versions are ignored."""
    id_, stamp, (name, right) = _standard()
    given = signatures % right.removeprefix(b"v1,")
    assert proven(STANDARD, [id_, stamp, (name, given)])


@pytest.mark.parametrize(
    "signatures",
    [
        *(b"", b" ", b"%s", b"v1%s", b"v2,%s", b"v1a,%s", b"xv1,%s", b"v1,", b"v1, %s", b"V1,%s"),
        b"v1,A " * 16 + b"v1,%s",
    ],
)
def test_without_a_signature_of_version_1_the_proof_fails(signatures: bytes) -> None:
    """It also fails with more signatures than the bound."""
    id_, stamp, (name, right) = _standard()
    given = signatures.replace(b"%s", right.removeprefix(b"v1,"))
    assert not proven(STANDARD, [id_, stamp, (name, given)])


@pytest.mark.parametrize(
    ("later", "holds"),
    [
        (0, True),
        (TOLERANCE * 1000, True),
        (-TOLERANCE * 1000, True),
        (TOLERANCE * 1000 + 1, False),
        (-TOLERANCE * 1000 - 1, False),
        (86_400_000, False),
    ],
)
def test_a_signature_holds_for_five_minutes(later: int, *, holds: bool) -> None:
    """A signature that is too old or too far ahead means a replay or a wrong clock."""
    assert proven(STANDARD, _standard(), now=_NOW + later) is holds


@pytest.mark.parametrize(("kafka", "own"), [(0, 86_400_000), (86_400_000, 0), (0, 0)])
def test_one_right_clock_is_enough(kafka: int, own: int) -> None:
    """A signature is valid if its time is close to Kafka's or to this machine's."""
    assert proven(STANDARD, _standard(), now=(_NOW + kafka, _NOW + own))
    assert not proven(STANDARD, _standard(), now=(_NOW + 86_400_000, _NOW - 86_400_000))


@pytest.mark.parametrize("stamp", [b"", b"-1", b"+1", b"1.0", b"1e9", b"\xb2", b" 1", b"9" * 16])
def test_an_invalid_time_proves_nothing(stamp: bytes) -> None:
    """Only whole seconds in digits are a valid time, even if signed."""
    assert not proven(STANDARD, _standard(stamp=stamp))
    assert not proven(STANDARD, _standard(stamp=stamp), now=0)


def test_an_id_with_a_full_stop_proves_nothing() -> None:
    """The id `a.1` at time 2 has the same signature as `a` at 1 with `2.` before the body."""
    assert not proven(STANDARD, _standard(id_=b"msg.1"))


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (b"whsec_" + b64encode(KEY), KEY),
        (b64encode(KEY), None),
        (b"whsec_not base64", None),
        (b"whsec_AAA", None),
        (b"whsec_\xff", None),
        (b"whsec_", b""),
    ],
)
def test_keys_of_standard_webhooks(secret: bytes, key: bytes | None) -> None:
    """A key is base64 after `whsec_`."""
    assert key_of(secret) == key


PROOFS: list[Source] = [HEADER, BEARER, BASIC, PATH, HMAC, STANDARD]
_NAME = st.sampled_from(
    [
        *(b"authorization", b"x-token", b"x-request-signature"),
        *(b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
    ]
)
_VALUE = st.binary(max_size=80) | st.sampled_from(
    [b"Bearer ", b"Basic ", b"Basic Og==", b"sha256=", b"v1,", b"v1,AAAA", b"msg_1", _STAMP]
)


@given(st.lists(st.tuples(_NAME, _VALUE), max_size=6), st.text(max_size=20), st.binary())
def test_random_requests_prove_nothing(headers: Headers, path: str, body: bytes) -> None:
    """Without a secret, no set of headers is accepted, and none raises."""
    path = "/" + path.encode().decode("latin-1")
    for proof in PROOFS:
        assert not proven(proof, headers, path, body)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_byte_may_change(body: bytes, data: st.DataObject) -> None:
    """The proof fails if one byte of the body, or of a header it uses, changes."""
    signed = b"msg_1." + _STAMP + b"." + body
    cases: list[tuple[Source, Headers]] = [
        (HMAC, [(b"x-request-signature", b"sha256=" + _mac(NEW, body).hex().encode())]),
        (
            STANDARD,
            [
                (b"webhook-id", b"msg_1"),
                (b"webhook-timestamp", _STAMP),
                (b"webhook-signature", b"v1," + b64encode(_mac(KEY, signed))),
            ],
        ),
    ]
    for proof, headers in cases:
        assert proven(proof, headers, body=body)
        assert not proven(proof, headers, body=data.draw(_changed(body)))
        place = data.draw(st.integers(0, len(headers) - 1))
        name, value = headers[place]
        other = data.draw(_changed(value))
        assume(_plain(proof, other) != _plain(proof, value))
        assert not proven(
            proof, [*headers[:place], (name, other), *headers[place + 1 :]], body=body
        )


def _plain(proof: Source, value: bytes) -> bytes:
    """Normalise the permitted differences: the case of hexadecimal digits, base64 padding."""
    return value.lower() if proof is HMAC else value.rstrip(b"= ")


@st.composite
def _changed(draw: st.DrawFn, text: bytes) -> bytes:
    place = draw(st.integers(0, len(text) - 1))
    byte = draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    return text[:place] + bytes([byte]) + text[place + 1 :]


def test_no_proof_shows_its_secret() -> None:
    """No representation contains a secret, its hash, or the value that was sent."""
    sent = [(b"x-token", NEW), (b"x-request-signature", _PREFIXED), *_standard()]
    path = "/" + NEW.decode()
    for source in PROOFS:
        request = Request("POST", "a", path, sent, _BODY)
        verdict = source.proof.check(request, source.secrets, (_NOW,))
        text = f"{source!r} {request!r} {verdict!r} {Reply(NEW)!r}"
        for secret in (*BOTH, KEY, *map(_hash, BOTH), _PREFIXED, b"msg_1"):
            assert repr(secret)[2:-1] not in text
            assert secret.hex() not in text


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
