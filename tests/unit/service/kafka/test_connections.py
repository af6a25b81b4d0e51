"""Connections to Kafka: backoff between tries, silence, and TCP keepalive."""

import asyncio
import os
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import BrokerMetadata
from hypothesis import given
from hypothesis import strategies as st

from service.kafka import connections
from service.kafka.connections import Backoff, adopt

A, B = ("a", 1), ("b", 2)
FETCH, JOIN_GROUP, SYNC_GROUP, HEARTBEAT = 1, 11, 14, 12


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _largest(_: float, longest: float) -> float:
    return longest


def test_pauses_double_up_to_two_seconds_and_end_with_a_success() -> None:
    clock = Clock()
    backoff = Backoff(clock, _largest)
    pauses = []
    for _ in range(7):
        backoff.failed(A)
        pauses.append(round(backoff.left(A), 6))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert backoff.left(B) == 0
    clock.now += 2
    assert backoff.left(A) == 0
    backoff.succeeded(A)
    backoff.failed(A)
    assert round(backoff.left(A), 6) == 0.1


def test_one_try_at_a_time_where_one_has_failed() -> None:
    """The first connections of a process may be tried together; nothing is known yet."""
    backoff = Backoff(Clock(), lambda *_: 0.0)
    backoff.begin(A)
    assert backoff.left(A) == 0
    backoff.failed(A)
    backoff.begin(A)
    assert backoff.left(A) > 0
    backoff.give_up(A)
    assert backoff.left(A) == 0


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_many_clients_try_about_once_a_second_together(seed: int, clients: int) -> None:
    """Law: while a broker is unavailable, the number of clients does not increase the tries."""
    clock, tries = Clock(), 0
    backoff = Backoff(clock, random.Random(seed).uniform)
    while clock.now < 700:
        for _ in range(clients):
            if not backoff.left(A):
                backoff.begin(A)
                backoff.failed(A)
                tries += 1
        clock.now += 0.1
    assert tries < 900  # of 6 000 rounds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for the pauses, which have their maximum length."""
    clock = Clock()
    monkeypatch.setattr(connections, "backoff", Backoff(clock, _largest))
    return clock


class Closing:
    """A port where every connection is closed at once, and counted."""

    def __init__(self) -> None:
        self.count = 0
        self.port = 0

    def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        writer.close()


@pytest.fixture
async def closing() -> AsyncIterator[Closing]:
    closing = Closing()
    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    closing.port = server.sockets[0].getsockname()[1]
    yield closing
    server.close()


def _client(port: int) -> Any:
    client: Any = AIOKafkaClient(bootstrap_servers=[f"127.0.0.1:{port}"])
    adopt(client, connect_seconds=5, answer_seconds=None)
    return client


async def test_a_broker_that_refuses_is_tried_once_a_pause(clock: Clock, closing: Closing) -> None:
    """For any number of requests, by any client of the process."""
    clients = [_client(closing.port) for _ in range(3)]
    for client in clients:
        client.cluster._brokers = {1: BrokerMetadata(1, "127.0.0.1", closing.port, None)}
    counts = []
    for _ in range(3):
        ready = await asyncio.gather(*(c.ready(1) for c in clients for _ in range(2)))
        assert not any(ready)
        counts.append(closing.count)
        await asyncio.gather(*(c.ready(1) for c in clients for _ in range(2)))
        assert closing.count == counts[-1], "it is too early"
        clock.now += 5
    # Before the first failure is known, each client tries.
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    assert counts[0] <= 2 * len(clients)


async def test_bootstrapping_pauses_too(clock: Clock, closing: Closing) -> None:
    client = _client(closing.port)
    for count in range(1, 4):
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        assert closing.count == count
        assert connections.backoff.left(("127.0.0.1", closing.port)) > 0
    assert client._bootstrap_servers == [f"127.0.0.1:{closing.port}"]
    clock.now += 5


async def test_bootstrapping_begins_with_servers_that_did_not_fail(
    clock: Clock, closing: Closing
) -> None:
    """An attempt at an unreachable one takes seconds, also long after its failure."""
    failed = await asyncio.start_server(lambda _, writer: tried(writer), "127.0.0.1", 0)
    counts: list[int] = []

    def tried(writer: asyncio.StreamWriter) -> None:
        counts.append(closing.count)
        writer.close()

    address = "127.0.0.1", failed.sockets[0].getsockname()[1]
    client = _client(closing.port)
    servers = [f"127.0.0.1:{address[1]}", f"127.0.0.1:{closing.port}"]
    for number in range(1, 9):
        connections.backoff.succeeded(("127.0.0.1", closing.port))
        connections.backoff.suspect(address)
        clock.now += 60
        client._bootstrap_servers = list(servers)
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        assert counts == list(range(1, number + 1)), "the other one was tried before"
    failed.close()


async def test_a_random_broker_is_one_that_did_not_fail(clock: Clock) -> None:
    client = _client(1)
    client.cluster._brokers = {n: BrokerMetadata(n, "host", n, None) for n in (1, 2, 3)}

    def drawn() -> set[int]:
        return {client.get_random_node() for _ in range(100)}

    assert drawn() == {1, 2, 3}
    connections.backoff.failed(("host", 1))
    clock.now += 60
    assert drawn() == {2, 3}
    connections.backoff.failed(("host", 2))
    connections.backoff.failed(("host", 3))
    assert drawn() == {1}, "the pause of the others is not over"
    connections.backoff.failed(("host", 1))
    assert drawn() == {1, 2, 3}
    connections.backoff.succeeded(("host", 2))
    assert drawn() == {2}


def test_a_loss_is_noted_once() -> None:
    """One broker that falls silent loses several connections at the same time."""
    backoff = Backoff(Clock(), _largest)
    for _ in range(3):
        backoff.suspect(A)
    assert backoff.fails(A)
    assert not backoff.fails(B)
    assert round(backoff.left(A), 6) == 0.1
    backoff.succeeded(A)
    assert not backoff.fails(A)


def _connection(*keys: int, arrived: int = 0, correlation_id: int = 7) -> Any:
    requests = deque((correlation_id + n, SimpleNamespace(API_KEY=k)) for n, k in enumerate(keys))
    reader = SimpleNamespace(_buffer=bytearray(arrived))
    return SimpleNamespace(
        _requests=deque((number, request, None) for number, request in requests), _reader=reader
    )


@pytest.mark.parametrize(
    ("before", "after", "silent"),
    [
        (_connection(), _connection(), False),
        (_connection(FETCH), _connection(FETCH), True),
        (_connection(HEARTBEAT), _connection(HEARTBEAT, FETCH), True),
        # A part of a large answer came in, or a whole one.
        (_connection(FETCH, arrived=10), _connection(FETCH, arrived=11), False),
        (_connection(FETCH), _connection(FETCH, correlation_id=8), False),
        # The broker answers once the group has joined, and only then later requests.
        (_connection(JOIN_GROUP), _connection(JOIN_GROUP), False),
        (_connection(SYNC_GROUP, HEARTBEAT), _connection(SYNC_GROUP, HEARTBEAT), False),
    ],
)
def test_silence(before: Any, after: Any, *, silent: bool) -> None:
    seen = connections._progress(before)
    assert (seen is not None and seen == connections._progress(after)) is silent


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_kernel_watches_connections_of_both_event_loops(loop: Callable[[], Any]) -> None:
    """Neither loop exposes its socket; the options are set on a second descriptor of it."""

    async def options() -> list[int]:
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        found = writer.get_extra_info("socket")
        connections._enable_keepalive(found)
        with socket.socket(fileno=os.dup(found.fileno())) as same:
            asked = [
                same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            ]
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return asked

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(options()) == [1, 3, 6_000]
