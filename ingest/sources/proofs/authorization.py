"""The header `Authorization`: `auth = "bearer"` (RFC 6750), `auth = "basic"` (RFC 7617). Pure."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ingest.sources.mistakes import wrong
from ingest.sources.proofs.comparison import among, digest
from ingest.sources.proofs.contract import Proven, Request, SecretProof

_VISIBLE = re.compile(rb"[!-~]+")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def _fit_user(value: str) -> str:
    if not value or not value.isprintable() or ":" in value:
        raise wrong("it is empty, or has a colon or unprintable characters in it")
    return value


class _Authorization(SecretProof):
    """One header `Authorization`: the scheme and, after a space, the credential."""

    scheme: ClassVar[bytes]

    def check(
        self, request: Request, secrets: Sequence[bytes], now: Sequence[int]
    ) -> Proven | None:
        del now
        scheme, _, given = (request.only(b"authorization") or b"").partition(b" ")
        if scheme.lower() != self.scheme or not among([digest(given.strip(b" \t"))], secrets):
            return None
        return Proven(request.path)


class BearerToken(_Authorization):
    """`Authorization: Bearer <secret>`."""

    scheme: ClassVar[bytes] = b"bearer"

    auth: Literal["bearer"]

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        if secret and not _VISIBLE.fullmatch(secret):
            return "has spaces or other than printable ASCII in it"
        return super().weakness(secret)

    def kept(self, secret: bytes) -> bytes:
        return digest(secret)


class BasicCredentials(_Authorization):
    """`Authorization: Basic <user:secret in base64>`."""

    scheme: ClassVar[bytes] = b"basic"

    auth: Literal["basic"]
    user: Annotated[
        str, AfterValidator(_fit_user), Field(examples=['user = "bluetick", for example'])
    ]

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        if _CONTROL.search(secret):
            return "has control characters in it"
        return super().weakness(secret)

    def kept(self, secret: bytes) -> bytes:
        return digest(b64encode(self.user.encode() + b":" + secret))
