"""Heads as bytes: which ones the parser may read, which are refused, and how early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.request_head import MAX_HEAD, MAX_HEADERS, MAX_LINE, BadHead, check_start, checked

LINE = b"POST /a HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
OLD = b"POST /a HTTP/1.0\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

GOOD = [
    LINE + HOST,
    OLD,
    OLD + HOST,
    LINE + HOST + CHUNKED,
    LINE + HOST + b"TRANSFER-ENCODING:\tChunked \r\n",
    LINE + HOST + b"X-Host: y\r\n",
    LINE + b"X-A: host: y\r\n" + HOST,
    b"M-SEARCH /" + b'!"$%&~? HTTP/1.1\r\n' + HOST,
    LINE + HOST + b"a: b\r\n" * (MAX_HEADERS - 1),
    b"POST /%s HTTP/1.1\r\n" % (b"a" * (MAX_LINE - 18)) + HOST,
]

BAD = [
    (LINE, 400),
    (LINE + HOST * 2, 400),
    (OLD + HOST * 2, 400),
    (OLD + CHUNKED, 400),
    (LINE + HOST + CHUNKED.replace(b": c", b": xc"), 400),
    (LINE + HOST + CHUNKED.replace(b"d\r", b"d, identity\r"), 400),
    (b"CONNECT /a HTTP/1.1\r\n" + HOST, 400),
    (b"POST  /a HTTP/1.1\r\n" + HOST, 400),
    (b"POST /a  HTTP/1.1\r\n" + HOST, 400),
    (b"POST /a HTTP/1.1 \r\n" + HOST, 400),
    (b"POST\t/a HTTP/1.1\r\n" + HOST, 400),
    (b"POST /a\xff HTTP/1.1\r\n" + HOST, 400),
    (b"POST /a#b HTTP/1.1\r\n" + HOST, 400),
    (b"POST http://x/a HTTP/1.1\r\n" + HOST, 400),
    (b"POST /a HTTP/2.0\r\n" + HOST, 400),
    (b"POST /a HTTP/1.1\n" + HOST, 400),
    (b"\r\n" + LINE + HOST, 400),
    (LINE + HOST + b"a: b\r\n" * MAX_HEADERS, 431),
    (LINE + HOST + b"a: %s\r\n" % (b"b" * MAX_HEAD), 431),
    (b"POST /%s HTTP/1.1\r\n" % (b"a" * MAX_LINE) + HOST, 414),
]

STARTS = [
    (b"", 400),
    (b"\n", 400),
    (b" ", 400),
    (b"\x16\x03\x01", 400),
    (b"get /", 400),
    (b"GET /\n", 400),
    (b"GET /\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: x\n", 400),
    (b"GET /" + b"a" * MAX_LINE, 414),
    (LINE + b"a: " + b"a" * MAX_HEAD, 431),
    (b"\r", None),
    (b"G", None),
    (b"GET /a HTTP/1.1\r", None),
    (b"GET /a HTTP/1.1\r\nhost: x\r", None),
]


@pytest.mark.parametrize("head", GOOD)
def test_a_good_head_passes_as_it_is(head: bytes) -> None:
    """A head without an upgrade is not changed."""
    assert checked(head + b"\r\n") == head + b"\r\n"


@pytest.mark.parametrize(("head", "status"), BAD)
def test_a_bad_head_is_refused(head: bytes, status: int) -> None:
    """The status is by the kind of error: form, length of the request line, size of the head."""
    with pytest.raises(BadHead) as refused:
        checked(head + b"\r\n")
    assert refused.value.status == status


@pytest.mark.parametrize(("start", "status"), STARTS)
def test_a_bad_start_is_refused_early(start: bytes, status: int | None) -> None:
    """The start of a head that cannot be valid is refused at once."""
    refused = None
    try:
        check_start(start)
    except BadHead as bad:
        refused = bad.status
    assert refused == status


@given(st.sampled_from(GOOD), st.integers(0, MAX_HEAD))
def test_no_start_of_a_good_head_is_refused(head: bytes, cut: int) -> None:
    """No prefix of a good head is refused."""
    if start := head[:cut]:
        check_start(start)


def test_an_upgrade_is_removed() -> None:
    """An offered upgrade does not reach the parser; the other headers do."""
    head = LINE + HOST + b"UPGRADE: h2c\r\nX-Upgrade: y\r\nupgrade: websocket\r\n\r\n"
    assert checked(head) == LINE + HOST + b"X-Upgrade: y\r\n\r\n"
