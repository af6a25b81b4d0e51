"""The one place where secrets are compared: in constant time, each with all candidates. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence


def among(given: Iterable[bytes], candidates: Sequence[bytes]) -> bool:
    """Whether any of the given is one of the candidates; all are compared, whatever is found."""
    found = False
    for one in given:
        for candidate in candidates:
            found |= hmac.compare_digest(one, candidate)
    return found


def digest(secret: bytes) -> bytes:
    """What is kept, and compared, of a credential that is sent as it is."""
    return hashlib.sha256(secret).digest()
