"""The comparison of secrets in constant time, each with all candidates. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence


def among(given: Iterable[bytes], candidates: Sequence[bytes]) -> bool:
    """Whether any of `given` is one of the candidates; always compares all of them."""
    found = False
    for one in given:
        for candidate in candidates:
            found |= hmac.compare_digest(one, candidate)
    return found


def digest(secret: bytes) -> bytes:
    """Return the digest that is stored and compared, for a credential sent in plain text."""
    return hashlib.sha256(secret).digest()
