"""Undoing a `Content-Encoding`: the door stores bodies as they came, so it is done here. Pure.

What is said to be compressed must be so, to the last byte, and must not be a bomb.
"""

import zlib

from processors.refusal import Refused

MAX_INFLATED = 10 * 1024 * 1024

# JSON of many like items shrinks well, but not so far; a small body may grow to the floor anyway.
MAX_RATIO = 100
FLOOR = 1024 * 1024

# Each member that ends copies what is behind it.
MAX_MEMBERS = 1000

_NONE = ("", "identity")
_GZIP = ("gzip", "x-gzip")
_AS_GZIP, _AS_ZLIB, _AS_RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def inflated(body: bytes, encoding: str) -> bytes:
    """The body without its encoding; `Refused` if that cannot be undone."""
    names = [name.strip().lower() for name in encoding.split(",")]
    match [name for name in names if name not in _NONE]:
        case []:
            return body
        case [name] if name in _GZIP:
            return _gunzipped(body)
        case ["deflate"]:
            return _inflate(body, _AS_ZLIB if _looks_like_zlib(body) else _AS_RAW, _most(body))[0]
    raise Refused("bad_encoding", "its Content-Encoding is neither gzip nor deflate, alone")


def _gunzipped(body: bytes) -> bytes:
    """All members, one behind the other (RFC 1952, 2.2)."""
    whole, most = b"", _most(body)
    rest = body
    for _ in range(MAX_MEMBERS):
        member, rest = _inflate(rest, _AS_GZIP, most - len(whole), whole=False)
        whole += member
        if not rest:
            return whole
    raise Refused("bad_encoding", f"it has more than {MAX_MEMBERS} gzip members")


def _inflate(body: bytes, how: int, most: int, *, whole: bool = True) -> tuple[bytes, bytes]:
    """What the body inflates to, and what is left behind its end: nothing, if that is `whole`."""
    inflater = zlib.decompressobj(how)
    try:
        text = inflater.decompress(body, most + 1)
    except zlib.error:
        raise Refused("bad_encoding", "it is not compressed as its Content-Encoding says") from None
    if len(text) > most:
        raise Refused(
            "bad_encoding",
            f"it inflates to more than {MAX_INFLATED} bytes, or more than {MAX_RATIO}-fold",
        )
    if not inflater.eof:
        raise Refused("bad_encoding", "it ends before its compressed data does")
    if whole and inflater.unused_data:
        raise Refused("bad_encoding", "something follows its compressed data")
    return text, inflater.unused_data


def _most(body: bytes) -> int:
    return min(MAX_INFLATED, max(FLOOR, MAX_RATIO * len(body)))


def _looks_like_zlib(body: bytes) -> bool:
    """`deflate` means zlib's format (RFC 9110, 8.4.1.2), but some send it without the wrapper."""
    return body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0
