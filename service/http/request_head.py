"""Checks of the head of an HTTP request before the parser reads it. Pure.

llhttp refuses nearly everything that two parsers could read as different requests. This module
refuses the rest: ingest has senders of all kinds and no old clients, so it can be strict.
"""

import re

# The largest request line with its headers, and the largest request line, in bytes.
MAX_HEAD = 64 * 1024
MAX_LINE = 16 * 1024
MAX_HEADERS = 100

END = b"\r\n\r\n"

# Only the origin form: one space each, no fragment, nothing but visible ASCII in the target.
_LINE = re.compile(rb'(?!CONNECT )[A-Z-]+ /[!"$-~]* HTTP/1\.([01])\r\n')
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class BadHead(Exception):
    """The head is refused; `status` is the HTTP status of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def checked(head: bytes) -> bytes:
    """Return the head, up to its empty line, as the parser may read it; raises `BadHead`."""
    if len(head) > MAX_HEAD or head.count(b"\r\n") > MAX_HEADERS + 2:
        raise BadHead(431)
    version = _version(head)
    lower = head.lower()
    hosts = lower.count(b"\r\nhost:")
    if hosts > 1 or (hosts == 0 and version == b"1"):
        raise BadHead(400)
    coding = lower.find(b"\r\ntransfer-encoding:")
    if coding >= 0 and (version == b"0" or not _is_chunked(lower, coding)):
        raise BadHead(400)
    # An offered upgrade may be ignored (RFC 9110, 7.8). Java's HttpClient offers one with every
    # request, and httptools would skip the body behind it.
    return _UPGRADE.sub(b"", head) if b"\r\nupgrade:" in lower else head


def check_start(start: bytes) -> None:
    """Raise `BadHead` if no valid head begins like this."""
    if len(start) > MAX_HEAD:
        raise BadHead(431)
    if start == b"\r":  # half of an empty line, which may precede a head
        return
    if not start[:1].isupper() or _BARE_LINE_FEED.search(start):
        raise BadHead(400)
    if b"\r\n" in start or len(start) > MAX_LINE:
        _version(start)


def _version(head: bytes) -> bytes:
    """Return the HTTP minor version of a valid request line."""
    if head.find(b"\r\n", 0, MAX_LINE) < 0:
        raise BadHead(414)
    line = _LINE.match(head)
    if line is None:
        raise BadHead(400)
    return line[1]


def _is_chunked(lower: bytes, at: int) -> bool:
    """Whether the transfer coding is exactly `chunked`; llhttp also accepts a list."""
    line = lower[at + 2 : lower.index(b"\r\n", at + 2)]
    return line.partition(b":")[2].strip(b" \t") == b"chunked"
