"""Decoding a `Content-Encoding`: ingest stores bodies as they came. Pure.

A body must be compressed as its header says, to the last byte, and must not be a decompression
bomb. The work is linear in the bytes read and written: a member is read in slices, and only its
last slice is read again.
"""

import zlib

from providers.pausable_work import Steps
from providers.rejection import Refused

MAX_INFLATED = 10 * 1024 * 1024

# JSON of many similar items compresses well, but not that far; a small body may grow to the floor.
MAX_RATIO = 100
FLOOR = 1024 * 1024

MAX_MEMBERS = 16

# The bytes inflated in one step. Empty blocks cost the most: about 10 ms for one slice.
SLICE = 64 * 1024

_NONE = ("", "identity")
_GZIP = ("gzip", "x-gzip")
_AS_GZIP, _AS_ZLIB, _AS_RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def inflated(body: bytes, encoding: str) -> Steps[bytes]:
    """Return the body without its encoding; `Refused` if it cannot be decoded."""
    names = [name.strip().lower() for name in encoding.split(",")]
    match [name for name in names if name not in _NONE]:
        case []:
            return body
        case [name] if name in _GZIP:
            return (yield from _gunzipped(body))
        case ["deflate"]:
            return (yield from _undeflated(body))
    raise Refused("bad_encoding", "its Content-Encoding is neither gzip nor deflate, alone")


def _gunzipped(body: bytes) -> Steps[bytes]:
    """Return all gzip members, concatenated (RFC 1952, 2.2)."""
    out, at = _Out(body), 0
    for _ in range(MAX_MEMBERS):
        at = yield from _inflate(body, at, _AS_GZIP, out)
        if at == len(body):
            return out.whole()
    raise Refused("bad_encoding", f"it has more than {MAX_MEMBERS} gzip members")


def _undeflated(body: bytes) -> Steps[bytes]:
    out = _Out(body)
    end = yield from _inflate(body, 0, _AS_ZLIB if _looks_like_zlib(body) else _AS_RAW, out)
    if end < len(body):
        raise Refused("bad_encoding", "something follows its compressed data")
    return out.whole()


class _Out:
    """The inflated bytes of a body so far."""

    def __init__(self, body: bytes) -> None:
        self.left = min(MAX_INFLATED, max(FLOOR, MAX_RATIO * len(body)))
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self.left -= len(piece)
        if self.left < 0:
            raise Refused(
                "bad_encoding",
                f"it inflates to more than {MAX_INFLATED} bytes, or more than {MAX_RATIO}-fold",
            )
        self._pieces.append(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


def _inflate(body: bytes, at: int, how: int, out: _Out) -> Steps[int]:
    """Inflate the data that begins at an offset; return the offset of its end."""
    inflater = zlib.decompressobj(how)
    while not inflater.eof:
        if at == len(body):
            raise Refused("bad_encoding", "it ends before its compressed data does")
        piece = body[at : at + SLICE]
        at += len(piece)
        try:
            # One byte more than allowed: so the inflater keeps no output back.
            out.add(inflater.decompress(piece, out.left + 1))
        except zlib.error:
            raise Refused(
                "bad_encoding", "it is not compressed as its Content-Encoding says"
            ) from None
        yield
    return at - len(inflater.unused_data)


def _looks_like_zlib(body: bytes) -> bool:
    """`deflate` means zlib's format (RFC 9110, 8.4.1.2), but some send it without the wrapper."""
    return body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0
