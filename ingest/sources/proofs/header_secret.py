"""`auth = "header"`: a header that holds the secret and nothing else. Pure."""

import re
from collections.abc import Sequence
from typing import Literal

from ingest.sources.proofs.comparison import among, digest
from ingest.sources.proofs.contract import Proven, Request, SecretProof
from ingest.sources.proofs.header_name import HeaderName

_PRINTABLE = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


class HeaderSecret(SecretProof):
    """The secret in the only header of that name; a repeated header is refused."""

    auth: Literal["header"]
    header: HeaderName

    def check(
        self, request: Request, secrets: Sequence[bytes], now: Sequence[int]
    ) -> Proven | None:
        del now
        given = request.only(self.header.lower().encode())
        if given is None or not among([digest(given.strip(b" \t"))], secrets):
            return None
        return Proven(request.path)

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        if secret and not _PRINTABLE.fullmatch(secret):
            return "has other than printable ASCII in it, or spaces around it"
        return super().weakness(secret)

    def kept(self, secret: bytes) -> bytes:
        return digest(secret)
