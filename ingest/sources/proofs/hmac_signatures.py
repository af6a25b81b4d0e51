"""HMAC signatures in the encodings used in headers. Pure."""

import binascii
import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal

Algorithm = Literal["sha256", "sha1", "sha512"]
Encoding = Literal["hex", "base64", "base64url"]

_ENCODE: Mapping[Encoding, Callable[[bytes], bytes]] = MappingProxyType(
    {
        "hex": binascii.hexlify,
        "base64": b64encode,
        "base64url": urlsafe_b64encode,
    }
)


def signatures(
    keys: Iterable[bytes], algorithm: Algorithm, encoding: Encoding, *parts: bytes
) -> list[bytes]:
    """Return every correct signature of the parts: with each key, with and without padding."""
    found = []
    for key in keys:
        mac = hmac.new(key, digestmod=algorithm)
        for part in parts:
            mac.update(part)
        text = _ENCODE[encoding](mac.digest())
        found += [text, text.rstrip(b"=")]
    return found
