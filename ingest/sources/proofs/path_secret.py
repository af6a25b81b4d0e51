"""`auth = "path"`: `/webhooks/<source>/<secret>`, optionally followed by more. Pure."""

import re
from collections.abc import Sequence
from typing import Literal

from ingest.sources.proofs.comparison import among, digest
from ingest.sources.proofs.contract import Proven, Request, SecretProof

_SEGMENT = re.compile(r"/([^/?]+)(.*)", re.DOTALL)
_UNCHANGED = re.compile(rb"[A-Za-z0-9._~-]+")


class PathSecret(SecretProof):
    """The first segment of the path, as it was sent; the path is stored without it."""

    auth: Literal["path"]

    def check(
        self, request: Request, secrets: Sequence[bytes], now: Sequence[int]
    ) -> Proven | None:
        del now
        found = _SEGMENT.fullmatch(request.path)
        if found is None:
            return None
        segment, rest = found.groups()
        return Proven(rest) if among([digest(segment.encode("latin-1"))], secrets) else None

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        if secret and not _UNCHANGED.fullmatch(secret):
            return "has other than letters, digits and . _ ~ - in it, which URLs change"
        return super().weakness(secret)

    def kept(self, secret: bytes) -> bytes:
        return digest(secret)
