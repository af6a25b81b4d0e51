"""Sending posts over real sockets: requests, rate, retries and errors."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.options import Sending
from cli.simulator import http_client, send
from cli.simulator.http_client import Connection, Endpoint
from cli.simulator.requests import Post, headers_of
from cli.simulator.send import deliver
from providers import NAMES
from service.errors import Problem

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found"
CLOSING = b"HTTP/1.1 200 OK\r\n\r\n"

Request = tuple[str, dict[str, str], bytes]


class Server:
    """A small HTTP server; `answer` returns the response, None closes the connection."""

    def __init__(self, answer: Callable[[Request], bytes | None]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._answer = answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await self._read(reader)
                self.requests.append(request)
                answer = self._answer(request)
                writer.write(answer or b"")
                await writer.drain()
                if answer is None or answer.endswith(CLOSING):
                    return
        except (EOFError, ConnectionError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip()
        line, *lines = head.split("\r\n")
        headers = headers_of(lines)
        return line, headers, await reader.readexactly(int(headers["content-length"]))


@asynccontextmanager
async def serving(answer: Callable[[Request], bytes | None]) -> AsyncIterator[Server]:
    server = Server(answer)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as sockets:
        server.port = sockets.sockets[0].getsockname()[1]
        yield server


def test_simulated_posts_carry_the_proof() -> None:
    """Headers and the path of the options are part of every simulated post, of every provider."""
    proof = options.Request(path="/secret", header=["X-Token: one", "X-Other: two"])
    posts = send._simulated("all", Sending(messages=20), 1, proof)
    assert {post.source for post in posts} == {*NAMES}
    for post in posts:
        assert post.path.startswith("/secret")
        assert {**post.headers, "x-token": "one", "x-other": "two"} == post.headers
        assert post.headers["content-type"] == "application/json"


class Notes:
    """A watcher that records its calls."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.waits: list[str] = []

    def answered(self, status: int) -> None:
        self.statuses.append(status)

    def waiting(self, reason: str, seconds: float) -> None:
        assert seconds >= 0
        self.waits.append(reason)


def posts(count: int) -> list[Post]:
    return [Post("whapi", b'{"n":%d}' % n) for n in range(count)]


async def test_every_post_arrives_as_it_is() -> None:
    """Method, path, headers and body reach the server, each post once, on few connections."""
    special = Post("whapi", b"\x00\xff", "PATCH", "/messages?a=b c", {"x-request-id": "42"})
    async with serving(lambda _: OK) as server:
        delivered = await deliver(server.url + "/base/", [special, *posts(50)], connections=3)
    assert (delivered.sent, delivered.accepted, delivered.refused) == (51, 51, 0)
    line, headers, body = next(r for r in server.requests if r[0].startswith("PATCH"))
    assert line == "PATCH /base/webhooks/whapi/messages?a=b%20c HTTP/1.1"
    assert (headers["x-request-id"], headers["host"]) == ("42", f"127.0.0.1:{server.port}")
    assert body == b"\x00\xff"
    assert Counter(body for _, _, body in server.requests).most_common(1)[0][1] == 1
    assert server.connections == 3


async def test_a_503_is_retried() -> None:
    """A post answered 503 is sent again until it is accepted, and the watcher is called."""
    busy = {b'{"n":1}': 2}

    def answer(request: Request) -> bytes:
        body = request[2]
        busy[body] = busy.get(body, 0) - 1
        return BUSY if busy[body] >= 0 else OK

    notes = Notes()
    async with serving(answer) as server:
        delivered = await deliver(server.url, posts(3), connections=1, progress=notes)
    assert (delivered.answers, delivered.resent) == ({200: 3}, 2)
    assert [r[2] for r in server.requests].count(b'{"n":1}') == 3
    assert len(notes.waits) == 2
    assert notes.statuses == [200, 200, 200]


async def test_retries_end() -> None:
    """After the last try, a post that is always answered 503 counts as refused."""
    async with serving(lambda _: BUSY) as server:
        delivered = await deliver(server.url, posts(1))
    assert delivered.answers == {503: 1}
    assert 1 < len(server.requests) < 10


async def test_other_refusals_are_not_repeated() -> None:
    """A 404 is final, and its body does not disturb the next answer."""
    async with serving(lambda _: NOT_FOUND) as server:
        delivered = await deliver(server.url, posts(4), connections=1)
    assert delivered.answers == {404: 4}
    assert len(server.requests) == 4
    assert server.connections == 1


async def test_a_connection_the_server_closes_is_opened_again() -> None:
    """A server that closes after each answer gets every post once."""
    async with serving(lambda _: CLOSING) as server:
        delivered = await deliver(server.url, posts(5), connections=1)
    assert delivered.answers == {200: 5}
    assert len(server.requests) == server.connections == 5


async def test_a_connection_closed_while_idle_is_opened_again() -> None:
    """A kept connection that the server closed while it was idle costs no request."""
    async with serving(lambda _: OK + CLOSING) as server:
        connection = Connection(Endpoint.of(server.url))
        for number in range(2):
            answer = await connection.request("POST", f"/{number}", {}, b"")
            assert answer.status == 200
            assert connection._streams
            await connection._streams[0].read()  # until the server has closed
        connection.close()
    assert server.connections == 2


async def test_a_post_with_a_lost_answer_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A post whose connection breaks before the answer is sent again."""
    monkeypatch.setattr(send, "_WAIT", 0.0)
    broken: list[bytes] = []

    def answer(request: Request) -> bytes | None:
        if request[2] == b'{"n":2}' and not broken:
            broken.append(request[2])
            return None
        return OK

    async with serving(answer) as server:
        delivered = await deliver(server.url, posts(4), connections=1)
    assert (delivered.answers, delivered.resent) == ({200: 4}, 1)
    assert [r[2] for r in server.requests].count(b'{"n":2}') == 2


def test_a_rate_spaces_posts_evenly() -> None:
    """Posts are due 1/rate seconds apart; without a rate all at once."""
    assert [due for due, _ in send.paced(posts(3), 4.0, 10.0)] == [10.0, 10.25, 10.5]
    assert [due for due, _ in send.paced(posts(3), None, 10.0)] == [10.0, 10.0, 10.0]


async def test_a_missing_server_is_one_sentence() -> None:
    """Without a server, the problem names the URL and what to do."""
    async with serving(lambda _: OK) as server:
        url = server.url
    with pytest.raises(Problem, match=f"does not answer at {url}.*start it"):
        await deliver(url, posts(20), connections=4)


@pytest.mark.parametrize("answer", [b"220 smtp ready\r\n\r\n", b"x" * 100_000])
async def test_another_protocol_is_reported(answer: bytes) -> None:
    """A server that does not speak HTTP is a problem, not a traceback."""
    async with serving(lambda _: answer) as server:
        with pytest.raises(Problem, match="not an HTTP server"):
            await deliver(server.url, posts(1))


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://h:99999"])
async def test_a_bad_url_is_reported(url: str) -> None:
    """A URL that cannot be used is refused before anything is sent."""
    with pytest.raises(Problem, match="URL"):
        await deliver(url, [])


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("", "127.0.0.1"),
    ],
)
def test_a_listening_address_has_a_url(host: str, reachable: str) -> None:
    """A wildcard address is reached by loopback; IPv6 is in brackets."""
    assert http_client.url(host, 8083) == f"http://{reachable}:8083"


def run(source: str, *files: str, how: Sending, **request: Any) -> asyncio.Future[int]:
    work = asyncio.to_thread(send.run, source, files, how, options.Request(**request))
    return asyncio.ensure_future(work)


async def test_run_sends_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory's *.json are sent in order of their names, and the output has the result."""
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).write_text(name)
    async with serving(lambda _: OK) as server:
        how = Sending(url=server.url, connections=1)
        code = await run("whapi", str(tmp_path), how=how, path="/x", header=["X-Request-Id: 7"])
    assert code == 0
    assert [body for _, _, body in server.requests] == [b"a.json", b"b.json"]
    assert server.requests[0][0] == "POST /webhooks/whapi/x HTTP/1.1"
    assert server.requests[0][1]["x-request-id"] == "7"
    assert "200 accepted" in capsys.readouterr().out


async def test_run_simulates(capsys: pytest.CaptureFixture[str]) -> None:
    """Without files a simulation is sent; a refusal makes the exit code 1."""

    def answer(request: Request) -> bytes:
        return NOT_FOUND if "/webhooks/whapi" in request[0] else OK

    async with serving(answer) as server:
        how = Sending(url=server.url, messages=30, duplicates=0, seed=4)
        assert await run("smsmanager", how=how) == 0
        assert await run("all", how=how) == 1
    said = capsys.readouterr()
    assert "404 refused" in said.out
    assert "--seed 4" in said.err


@pytest.mark.parametrize(
    ("source", "files", "words"),
    [
        ("all", ["x.json"], "one source"),
        ("acme", [], "acme"),
        ("whapi", ["missing.json"], "missing.json"),
    ],
)
def test_run_refuses_invalid_options(source: str, files: list[str], words: str) -> None:
    """An invalid option is refused with a sentence that names it."""
    with pytest.raises(Problem, match=words):
        send.run(source, files, Sending(messages=1))
