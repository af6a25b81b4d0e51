"""`auth = "standard-webhooks"` (standardwebhooks.com): id, time and body are signed. Pure."""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from ingest.sources.proofs.comparison import among
from ingest.sources.proofs.contract import Needs, Proven, Request, SecretProof, timely
from ingest.sources.proofs.hmac_signatures import signatures

# The specification requires a key of this length.
LEAST_KEY = 24

_PREFIX = b"whsec_"
# Id and time are signed with a full stop between them, so an id must not contain one.
_ID = re.compile(rb"[^.]+")
_STAMP = re.compile(rb"[0-9]{1,15}")
_MOST_SIGNATURES = 16
_FIRST_VERSION = re.compile(rb"(?<![^ ])v1,([^ ]+)")


class _Signed(NamedTuple):
    id: bytes
    stamp: bytes
    given: list[bytes]


class StandardWebhooks(SecretProof):
    """One of the signatures of version 1 must be correct, and its time close to now."""

    needs: ClassVar[Needs] = "head and body"

    auth: Literal["standard-webhooks"]

    def expects(self, request: Request) -> bool:
        return _signed(request) is not None

    def check(
        self, request: Request, secrets: Sequence[bytes], now: Sequence[int]
    ) -> Proven | None:
        signed = _signed(request)
        if signed is None or request.body is None:
            return None
        before = b"%s.%s." % (signed.id, signed.stamp)
        right = signatures(secrets, "sha256", "base64", before, request.body)
        proven = among(signed.given, right)
        return Proven(request.path) if timely(int(signed.stamp), now) and proven else None

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        if not secret:
            return "is empty"
        key = key_of(secret)
        if key is None:
            return "is not whsec_ and base64 after it"
        return None if len(key) >= LEAST_KEY else f"encodes fewer than {LEAST_KEY} bytes"

    def kept(self, secret: bytes) -> bytes:
        key = key_of(secret)
        if key is None:
            raise ValueError("the secret is unfit")
        return key


def key_of(secret: bytes) -> bytes | None:
    """Return the key that a secret encodes; None if it encodes none."""
    if not secret.startswith(_PREFIX):
        return None
    try:
        return b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return None


def _signed(request: Request) -> _Signed | None:
    """Parse the three headers; None if they are not a possible proof."""
    id_ = request.only(b"webhook-id")
    stamp = request.only(b"webhook-timestamp")
    headers = request.only(b"webhook-signature")
    if id_ is None or stamp is None or headers is None:
        return None
    if not _ID.fullmatch(id_) or not _STAMP.fullmatch(stamp):
        return None
    given = _FIRST_VERSION.findall(headers)
    return _Signed(id_, stamp, given) if len(given) <= _MOST_SIGNATURES else None
