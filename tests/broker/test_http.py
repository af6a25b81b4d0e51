"""Malformed and ambiguous requests: one request becomes exactly one record."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import MAX_BODY
from service.http.request_head import MAX_HEAD, MAX_HEADERS, MAX_LINE
from tests.broker.http_bytes import Head, answers, chunks, connect, exchange, statuses
from tests.broker.running_ingest import Ingest, stored
from tests.examples import examples

RECEIVE_SECONDS = 2.0


def _bad(post: Head) -> dict[str, bytes]:
    """Return requests that two parsers could read differently, and malformed ones."""
    line = f"POST {post.target} HTTP/1.1\r\n"
    target = post.target
    old = Head(target, version="1.0")
    abc = chunks(b"abc")
    return {
        # Two lengths, or an invalid one
        "length and chunked": post.chunked(abc, "content-length: 3"),
        "chunked and length": post("content-length: 3", "transfer-encoding: chunked", body=abc),
        "two lengths": post("content-length: 3", "content-length: 4", body=b"abcd"),
        "the same length twice": post("content-length: 3", "content-length: 3", body=b"abc"),
        "a list of lengths": post("content-length: 3, 3", body=b"abc"),
        "length +3": post("content-length: +3", body=b"abc"),
        "length -3": post("content-length: -3", body=b"abc"),
        "length 0x3": post("content-length: 0x3", body=b"abc"),
        "length 3 3": post("content-length: 3 3", body=b"abc"),
        "no number": post("content-length: three", body=b"abc"),
        "an empty length": post("content-length: ", body=b"abc"),
        "a length beyond 64 bits": post(f"content-length: {'9' * 40}", body=b"abc"),
        # Codings
        "xchunked": post("transfer-encoding: xchunked", body=abc),
        "chunked, identity": post("transfer-encoding: chunked, identity", body=abc),
        "identity": post("transfer-encoding: identity", body=abc),
        "gzip, chunked": post("transfer-encoding: gzip, chunked", body=abc),
        "chunked, chunked": post("transfer-encoding: chunked, chunked", body=abc),
        "chunked twice": post.chunked(abc, "transfer-encoding: chunked"),
        "chunked and identity": post.chunked(abc, "transfer-encoding: identity"),
        "quoted": post('transfer-encoding: "chunked"', body=abc),
        "vertical tab": post("transfer-encoding: \x0bchunked", body=abc),
        "no coding": post("transfer-encoding: ", "content-length: 3", body=b"abc"),
        "chunked in HTTP/1.0": old.chunked(abc),
        # Line ends
        "bare LF everywhere": post.sized(b"").replace(b"\r\n", b"\n"),
        "bare LF after the request line": post().replace(b"1.1\r\n", b"1.1\n"),
        "bare LF after a header": post.sized(b"").replace(b"x\r\n", b"x\n"),
        "bare LF at the end": post.sized(b"").replace(b"\r\n\r\n", b"\r\n\n"),
        "bare LF before the end": post.sized(b"").replace(b"\r\n\r\n", b"\n\r\n"),
        "bare LF first": b"\n" + post.sized(b""),
        "bare CR first": b"\r" + post.sized(b""),
        "bare CR after a header": post.sized(b"").replace(b"x\r\n", b"x\r"),
        "bare CR in a value": post("x-a: a\rb"),
        # Headers
        "obs-fold": post("x-a: a\r\n b"),
        "obs-fold of a length": post("content-length:\r\n 3", body=b"abc"),
        "obs-fold behind an upgrade": post("connection: upgrade", "upgrade: a\r\n b"),
        "space before the first header": Head(target, host=" host: x\r\n")(),
        "space before a colon": post("content-length : 3", body=b"abc"),
        "tab before a colon": post("transfer-encoding\t: chunked", body=abc),
        "no colon": post("garbage"),
        "no name": post(": x"),
        "NUL in a name": post("x\x00a: x"),
        "NUL in a value": post("x-a: x\x00y"),
        "a control in a value": post("x-a: x\x01y"),
        "no Host": Head(target, host="")(),
        "two Hosts": post("host: x"),
        "two Hosts, differing": post("Host: y"),
        # The request line
        "two spaces": line.replace(" /", "  /").encode() + b"host: x\r\n\r\n",
        "two spaces more": line.replace(" HTTP", "  HTTP").encode() + b"host: x\r\n\r\n",
        "tab": line.replace(" /", "\t/").encode() + b"host: x\r\n\r\n",
        "space at the end": line.replace("1.1", "1.1 ").encode() + b"host: x\r\n\r\n",
        "space at the start": b" " + post(),
        "space in the target": Head(f"{target} b")(),
        "a control in the target": Head(f"{target}\x01")(),
        "NUL in the target": Head(f"{target}\x00")(),
        "beyond ASCII in the target": Head(f"{target}\xff")(),
        "fragment": Head(f"{target}#a")(),
        "absolute form": Head(f"http://x{target}")(),
        "asterisk form": Head("*", method="OPTIONS")(),
        "authority form": Head("x:443", method="CONNECT")(),
        "CONNECT to a path": Head(target, method="CONNECT")(),
        "no slash": Head("webhooks/whapi")(),
        "no method of HTTP": Head(target, method="BREW")(),
        "lower case method": Head(target, method="post")(),
        "lower case HTTP": post().replace(b"HTTP", b"http"),
        "HTTP/0.9": f"GET {target}\r\n\r\n".encode(),
        "HTTP/0.9 declared": Head(target, version="0.9")(),
        "HTTP/1.2": Head(target, version="1.2")(),
        "HTTP/2.0": Head(target, version="2.0")(),
        "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "RTSP": post().replace(b"HTTP", b"RTSP"),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        # Chunks
        "chunk 0x3": post.chunked(b"0x3\r\nabc\r\n0\r\n\r\n"),
        "chunk +3": post.chunked(b"+3\r\nabc\r\n0\r\n\r\n"),
        "chunk -3": post.chunked(b"-3\r\nabc\r\n0\r\n\r\n"),
        "chunk with a space before": post.chunked(b" 3\r\nabc\r\n0\r\n\r\n"),
        "chunk with a space behind": post.chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
        "chunk with a tab behind": post.chunked(b"3\t\r\nabc\r\n0\r\n\r\n"),
        "chunk beyond 64 bits": post.chunked(b"%s\r\nabc" % (b"F" * 17)),
        "chunk of no size": post.chunked(b"\r\nabc\r\n0\r\n\r\n"),
        "chunk shorter than declared": post.chunked(b"4\r\nabc\r\n0\r\n\r\n"),
        "chunk longer than declared": post.chunked(b"2\r\nabc\r\n0\r\n\r\n"),
        "bare LF in chunks": post.chunked(b"3\nabc\n0\n\n"),
        "bare CR behind a size": post.chunked(b"3\rabc\r\n0\r\n\r\n"),
        "bare LF behind a chunk": post.chunked(b"3\r\nabc\n0\r\n\r\n"),
        "nothing behind a chunk": post.chunked(b"3\r\nabc0\r\n\r\n"),
        "bare LF at the end of chunks": post.chunked(b"3\r\nabc\r\n0\r\n\n"),
        "bare LF in an extension": post.chunked(b"3;a\nabc\r\n0\r\n\r\n"),
        "bare CR in an extension": post.chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
        "NUL in an extension": post.chunked(b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
        "a huge extension": post.chunked(b"3;%s\r\nabc\r\n0\r\n\r\n" % (b"a" * 100_000)),
        "huge trailers": post.chunked(b"0\r\n%s\r\n" % (b"x-a: a\r\n" * 20_000)),
        "a length in a trailer": post.chunked(b"3\r\nabc\r\n0\r\ncontent-length: 9\r\n\r\n"),
        "a coding in a trailer": post.chunked(b"0\r\ntransfer-encoding: chunked\r\n\r\n"),
        "obs-fold in a trailer": post.chunked(b"0\r\nx-a: a\r\n b\r\n\r\n"),
    }


async def test_ambiguous_requests_are_refused(ingest: Ingest, mark: str) -> None:
    """Each gets 400 and its connection is closed; no byte of it, or after it, is stored."""
    head = Head(f"/webhooks/whapi/{mark}")
    bad = _bad(head)
    answered = {}
    for name, wire in bad.items():
        both = wire + head.sized(b"second", "connection: close")
        received = await asyncio.gather(
            exchange(ingest.port, [both]),
            exchange(ingest.port, [wire[:-1], both[len(wire) - 1 :]]),
            exchange(ingest.port, [wire[i : i + 1] for i in range(len(wire[:400]))] + [wire[400:]]),
        )
        answered[name] = [statuses(each) for each in received]
    assert answered == {name: [[400]] * 3 for name in bad}
    assert await stored(ingest, mark) == []


def _good(post: Head) -> dict[str, tuple[bytes, list[bytes]]]:
    """Return unusual but valid requests, each with the bodies it contains."""
    close = "connection: close"
    old = Head(post.target, version="1.0", host="")
    upgrade = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAM")
    return {
        "one": (post.sized(b"a", close), [b"a"]),
        "no body, no length": (post(close), [b""]),
        "HTTP/1.0": (old.sized(b"a"), [b"a"]),
        "HTTP/1.0, to be kept open": (old.sized(b"a", "connection: keep-alive"), [b"a"]),
        "an empty line first": (b"\r\n\r\n" + post.sized(b"a", close), [b"a"]),
        "white space round a length": (post("content-length:  1\t", close, body=b"a"), [b"a"]),
        "a value beyond ASCII": (post.sized(b"a", "x-a: \xff", close), [b"a"]),
        "an unknown expectation": (post.sized(b"a", "expect: nothing", close), [b"a"]),
        "chunks": (post.chunked(chunks(b"a", b"\r\n\r\n", b"b"), close), [b"a\r\n\r\nb"]),
        "CHUNKED": (post("Transfer-Encoding: CHUNKED", close, body=chunks(b"a")), [b"a"]),
        "zeros before a size": (post.chunked(b"0001\r\na\r\n000\r\n\r\n", close), [b"a"]),
        "an extension": (post.chunked(b'1;a="b;c";d\r\na\r\n0\r\n\r\n', close), [b"a"]),
        "trailers": (post.chunked(b"1\r\na\r\n0\r\nx-request-id: no\r\n\r\n", close), [b"a"]),
        "one chunk a byte": (post.chunked(chunks(*[b"x"] * 30_000), close), [b"x" * 30_000]),
        "pipelined": (
            post.sized(b"a") + post.chunked(chunks(b"b")) + post() + post.sized(b"c", close),
            [b"a", b"b", b"", b"c"],
        ),
        "a request as a body": (
            post.sized(post.sized(b"x")) + post.chunked(chunks(post.sized(b"y")), close),
            [post.sized(b"x"), post.sized(b"y")],
        ),
        "an upgrade": (post.sized(b"a", *upgrade) + post.sized(b"b", close), [b"a", b"b"]),
        "an upgrade with chunks": (
            post.chunked(chunks(b"a"), *upgrade) + post.sized(b"b", close),
            [b"a", b"b"],
        ),
        "behind the last one": (post.sized(b"a", close) + post.sized(b"no"), [b"a"]),
    }


async def test_valid_requests_are_accepted(ingest: Ingest, mark: str) -> None:
    """Each request gets its own 200 and becomes one record, however it is split."""
    answered, wanted, there = {}, {}, {}
    for number, name in enumerate(_good(Head("/"))):
        wire, bodies = _good(Head(f"/webhooks/whapi/{mark}-{number:02}"))[name]
        received = await asyncio.gather(
            exchange(ingest.port, [wire]),
            exchange(ingest.port, [wire[:-1], wire[-1:]]),
            exchange(ingest.port, [wire[i : i + 1] for i in range(300)] + [wire[300:]]),
            exchange(ingest.port, [wire], half_close=True),
        )
        answered[name] = [statuses(each) for each in received]
        wanted[name] = [[200] * len(bodies)] * 4
        there[f"{mark}-{number:02}"] = Counter(bodies * 4)
    assert answered == wanted
    records = await stored(ingest, mark)
    found: dict[str, Counter[bytes]] = {}
    for record in records:
        found.setdefault(record.headers["http-path"].decode()[1:], Counter())[record.value] += 1
    assert found == there
    assert not any("x-request-id" in record.headers for record in records)


async def test_a_bad_request_after_a_good_one_is_answered_in_order(
    ingest: Ingest, mark: str
) -> None:
    """The first is stored and gets its 200; the 400 comes after it, not instead of it."""
    head = Head(f"/webhooks/whapi/{mark}")
    wire = head.sized(b"good") + b"GET  / HTTP/1.1\r\n\r\n" + head.sized(b"never")
    assert statuses(await exchange(ingest.port, [wire])) == [200, 400]
    assert [record.value for record in await stored(ingest, mark)] == [b"good"]


async def test_expect_100_continue(ingest: Ingest, mark: str) -> None:
    """100 comes before the body, but not for a body that is refused."""
    reader, writer = await connect(ingest.port)
    head = Head(f"/webhooks/whapi/{mark}")
    writer.write(head("content-length: 1", "expect: 100-continue", "connection: close"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"a")
    assert statuses(await reader.read()) == [200]
    writer.close()
    asked = head(f"content-length: {MAX_BODY + 1}", "expect: 100-continue")
    assert statuses(await exchange(ingest.port, [asked])) == [413]


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (10, [1] * (MAX_HEADERS - 1), 200),  # and Host
        (10, [1] * MAX_HEADERS, 431),
        (MAX_LINE - 200, [], 413),  # the stored path has its own bound
        (MAX_LINE, [], 414),
        (10, [1000] * 60, 200),
        (10, [1000] * 65, 431),
        (10, [MAX_HEAD - 200], 200),
        (10, [MAX_HEAD], 431),
    ],
)
async def test_the_head_is_bounded(
    ingest: Ingest, line: int, headers: list[int], status: int
) -> None:
    """The request line, the number of headers and their total size; in one piece or in many."""
    lines = [f"x-{number}: {'v' * length}" for number, length in enumerate(headers)]
    wire = Head("/webhooks/whapi/".ljust(line, "x"))(*lines)
    for pieces in ([wire], [wire[i : i + 999] for i in range(0, len(wire), 999)]):
        assert statuses(await exchange(ingest.port, pieces, half_close=True)) == [status]


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY, MAX_BODY + 1])
async def test_a_body_at_the_largest_size(ingest: Ingest, mark: str, size: int) -> None:
    """One byte more than the largest size is refused, with a declared length or without."""
    body = os.urandom(size)
    post = Head(f"/webhooks/whapi/{mark}")
    cut = [body[i : i + 50_000] for i in range(0, size, 50_000)]
    for wire in (
        post.sized(body, "connection: close"),
        post.chunked(chunks(*cut), "connection: close"),
    ):
        [answer] = answers(await exchange(ingest.port, [wire]))
        assert (answer.status, answer.last) == (413 if size > MAX_BODY else 200, True)
    taken = [] if size > MAX_BODY else [body] * 2
    assert [record.value for record in await stored(ingest, mark)] == taken


@pytest.mark.parametrize(
    ("length", "body", "expected"),
    [
        ("content-length: 9", b"abc", []),  # the sender disconnected half way
        ("content-length: 2", b"abc", [200, 400]),  # the rest is not a request
        ("x-none: 1", b"abc", [200, 400]),
        ("content-length: 1000000000", b"abc", [413]),
        ("content-length: 9223372036854775807", b"abc", [413]),
        ("transfer-encoding: chunked", b"3\r\nabc\r\n", []),
        ("transfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\nabc", [200, 400]),
    ],
)
async def test_a_wrong_length(
    ingest: Ingest, mark: str, length: str, body: bytes, expected: list[int]
) -> None:
    """A body shorter than declared is not stored; extra bytes are not a request."""
    wire = Head(f"/webhooks/whapi/{mark}")(length, body=body)
    assert statuses(await exchange(ingest.port, [wire], half_close=True)) == expected
    assert len(await stored(ingest, mark)) == expected.count(200)


async def test_a_hundred_megabytes_in_chunks_are_not_held(ingest: Ingest, mark: str) -> None:
    """Each of many gets 413 once the largest size is passed; memory use does not grow."""
    chunk = b"10000\r\n%s\r\n" % bytes(65536)
    post = Head(f"/webhooks/whapi/{mark}").chunked(b"")

    async def send() -> int:
        reader, writer = await connect(ingest.port)
        answer = asyncio.create_task(reader.readline())
        writer.write(post)
        with suppress(ConnectionError):
            for _ in range(1600):
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
        return int((await answer).split()[1])

    before = _resident()
    assert await asyncio.gather(*(send() for _ in range(4))) == [413] * 4
    assert _resident() - before < 32 * 1024 * 1024
    assert await stored(ingest, mark) == []


def _resident() -> int:
    status = Path("/proc/self/status").read_text().partition("VmRSS:")[2]
    return int(status.split()[0]) * 1024


@pytest.mark.parametrize("target", ["/other", "/health/live", "/webhooks/unknown"])
async def test_a_refused_body_is_not_read(ingest: Ingest, target: str) -> None:
    """An answer before the end of the body is the last one on its connection."""
    [answer] = answers(await exchange(ingest.port, [Head(target)("content-length: 9", body=b"a")]))
    assert answer.last


async def test_a_refusal_after_the_whole_body_keeps_the_connection(ingest: Ingest) -> None:
    """Only an unread rest closes the connection."""
    wire = Head("/webhooks/unknown").sized(b"a") + Head("/webhooks/whapi", method="GET")()
    wire += Head("/health/live", method="GET")("connection: close")
    assert statuses(await exchange(ingest.port, [wire])) == [404, 405, 200]


_anything = st.text(st.characters(max_codepoint=255), max_size=20)
_visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
_framing = ["connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"]
_names = st.sampled_from([*_framing, "content-encoding", "te", "trailer", "x-request-id"])
_values = st.sampled_from(
    ["0", "1", "3", "chunked", "close", "h2c", "identity", "keep-alive", "upgrade", "websocket"]
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Draw a request, possibly malformed."""
    target = draw(st.one_of(st.just(""), _visible, _anything))
    method = draw(st.one_of(st.sampled_from(["POST", "PUT", "PATCH", "DELETE", "GET"]), _visible))
    post = Head(f"/webhooks/whapi/{target}", method="POST" if method == "HEAD" else method)
    lines = draw(
        st.lists(
            st.tuples(st.one_of(_names, _visible), st.one_of(_values, _anything)).map(": ".join),
            max_size=3,
        )
    )
    body = draw(st.binary(max_size=50))
    return draw(
        st.sampled_from(
            [post.sized(body, *lines), post.chunked(chunks(body or b"x", b"y"), *lines)]
        )
    )


@st.composite
def _wires(draw: st.DrawFn) -> list[bytes]:
    """Draw requests on one connection, possibly corrupted in one byte, split anywhere."""
    wire = b"".join(draw(st.lists(_requests(), min_size=1, max_size=3)))
    places = st.integers(0, len(wire))
    if draw(st.booleans()):
        at, end = draw(places), draw(st.integers(0, 3))
        wire = wire[:at] + draw(st.binary(max_size=3)) + wire[at + end :]
    cuts = sorted(draw(st.lists(places, max_size=5)))
    return [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@pytest.fixture(scope="module")
async def new(ingest: Ingest) -> AsyncIterator[Callable[[], Awaitable[list[bytes]]]]:
    """Return a function that reads the bodies stored since its last call, with one consumer."""
    topic, count = ingest.settings.topics.raw("whapi"), ingest.settings.partitions
    partitions = [TopicPartition(topic, number) for number in range(count)]
    async with AIOKafkaConsumer(
        bootstrap_servers=ingest.settings.kafka, fetch_max_wait_ms=20
    ) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)

        async def read() -> list[bytes]:
            found = []
            ends = await consumer.end_offsets(partitions)
            while [p for p in partitions if await consumer.position(p) < ends[p]]:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += [record.value or b"" for record in records]
            return found

        await read()
        yield read


@examples(2)
@given(st.lists(_wires(), min_size=5, max_size=5))
async def test_for_any_input_a_200_is_a_record(
    ingest: Ingest, new: Callable[[], Awaitable[list[bytes]]], wires: list[list[bytes]]
) -> None:
    """No 5xx, no hanging connection, and one record per 200 with a body that was sent."""
    received = await asyncio.gather(*(exchange(ingest.port, w, half_close=True) for w in wires))
    answered = [status for each in received for status in statuses(each) if status != 100]
    assert not [status for status in answered if status >= 500]
    stored = await new()
    assert len(stored) == answered.count(200)
    sent = [b"".join(wire) for wire in wires]  # the last byte of a chunked body is sent alone
    assert all(any(body in each or body[:-1] in each for each in sent) for body in stored)
