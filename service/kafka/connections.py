"""Connections to Kafka: the timeout of silent ones, and the backoff of failed ones.

aiokafka's consumer, producer and admin make their client themselves; `adopt` changes it in place.
The private parts of aiokafka that this needs are used here, with the evidence in
docs/decisions/0003-aiokafka.md.
"""

import asyncio
import itertools
import os
import random
import socket
import time
import weakref
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason, collect_hosts
from aiokafka.errors import KafkaConnectionError

from service.kafka.failures import reporter
from service.kafka.probe import Address
from service.logger import logger

log = logger(__name__)

SILENCE_SECONDS = 5
_CHECK_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_MOST_FAILURES = 16  # counted: the pause has long stopped growing
# A caller that cannot connect fails after this time, so that its next try sees newer metadata.
_REFUSAL_SECONDS = 1.0
# The reasons of a lost connection; one that a side closed when it was idle is none of these.
BROKEN = (CloseReason.CONNECTION_BROKEN, CloseReason.CONNECTION_TIMEOUT, CloseReason.OUT_OF_SYNC)
# The broker answers these only once the whole group has joined: silence is normal there.
_JOIN_GROUP, _SYNC_GROUP = 11, 14

# While no answer is due, TCP keepalive probes the other end: an unreachable broker is detected
# after six seconds then too.
_SOCKET_OPTIONS = {
    "TCP_KEEPIDLE": 3,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 6_000,
}


class Backoff:
    """When an address may be connected to again: exponential, with full jitter.

    While a broker is unavailable, all clients of the process together try one connection at a time.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._draw = draw
        # How often in a row it failed, and when the next try may begin.
        self._failed: dict[Address, tuple[int, float]] = {}

    def left(self, address: Address) -> float:
        """Return the seconds to wait before the next try; 0 for none."""
        _, until = self._failed.get(address, (0, 0.0))
        return max(0.0, min(until - self._clock(), _LONGEST_PAUSE_SECONDS))

    def fails(self, address: Address) -> bool:
        """Whether the last thing known of an address is a failure, however long ago."""
        return address in self._failed

    def begin(self, address: Address) -> None:
        """Note that a try begins: after a failure, no other try may begin before it ends."""
        if address in self._failed:
            self._failed[address] = self._failed[address][0], float("inf")

    def give_up(self, address: Address) -> None:
        """Note that a try was cancelled: it counts neither as a success nor as a failure."""
        if address in self._failed:
            self._failed[address] = self._failed[address][0], self._clock()

    def failed(self, address: Address) -> None:
        count = min(self._failed.get(address, (0, 0.0))[0] + 1, _MOST_FAILURES)
        longest = min(_FIRST_PAUSE_SECONDS * 2 ** (count - 1), _LONGEST_PAUSE_SECONDS)
        self._failed[address] = count, self._clock() + self._draw(0, longest)

    def suspect(self, address: Address) -> None:
        """Note that a connection was lost without an answer: others go first from now on."""
        if address not in self._failed:
            self.failed(address)

    def succeeded(self, address: Address) -> None:
        self._failed.pop(address, None)


backoff = Backoff()
_observers: list[Callable[[], object]] = []


def on_loss(observer: Callable[[], object]) -> None:
    """Call `observer` whenever a client of this process loses a connection."""
    _observers.append(observer)


class _Client(AIOKafkaClient):
    """aiokafka's client, with backoff between tries and a timeout of silent connections."""

    _answer_seconds: float | None
    _prepared: "weakref.WeakSet[Any]"

    async def bootstrap(self) -> None:
        """Try the servers one by one, last those that failed: one attempt may take seconds."""
        servers = list(self._bootstrap_servers)
        random.shuffle(servers)
        servers.sort(key=lambda one: (backoff.fails(_address(one)), backoff.left(_address(one))))
        await asyncio.sleep(min(backoff.left(_address(server)) for server in servers))
        try:
            for server in servers:
                if await self._bootstrapped(server):
                    return
        finally:
            self._bootstrap_servers = servers
        raise KafkaConnectionError(f"Unable to bootstrap from {servers}")

    async def _bootstrapped(self, server: str) -> bool:
        address = _address(server)
        self._bootstrap_servers = [server]
        backoff.begin(address)
        try:
            await super().bootstrap()  # type: ignore[no-untyped-call]
        except KafkaConnectionError:
            self._note_failure(address)
            return False
        except BaseException:
            backoff.give_up(address)
            raise
        self._note_success(address)
        return True

    def get_random_node(self) -> Any:
        """Return a broker that did not fail; else one whose backoff permits a connection."""
        brokers = {(one.host, one.port): one.nodeId for one in self.cluster.brokers()}
        for unusable in (backoff.fails, backoff.left):
            usable = [node for address, node in brokers.items() if not unusable(address)]
            if usable:
                return random.choice(usable)  # noqa: S311
        return super().get_random_node()  # type: ignore[no-untyped-call]

    async def ready(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT) -> bool:
        """Connect; fail only after a pause, because every caller tries again at once."""
        if await self._get_conn(node_id, group=group) is not None:
            return True
        self.force_metadata_update()  # type: ignore[no-untyped-call]
        await asyncio.sleep(min(self._pause(node_id), _REFUSAL_SECONDS))
        return False

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """Request metadata; fail only after a pause, because the callers do not wait."""
        updated = bool(await super()._metadata_update(cluster_metadata, topics))  # type: ignore[no-untyped-call]
        if not updated:
            pauses = [self._pause(broker.nodeId) for broker in self.cluster.brokers()]
            pause = max(min(pauses, default=0), _FIRST_PAUSE_SECONDS)
            await asyncio.sleep(min(pause, _REFUSAL_SECONDS))
        return updated

    async def _get_conn(
        self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> Any:
        """Return a connection, or None; None at once if it is too early for another try."""
        del no_hint  # aiokafka does not use it either
        known, address = self._conns.get((node_id, group)), self._address_of(node_id)
        if address is None or (known is not None and known.connected()):
            return await super()._get_conn(node_id, group=group)  # type: ignore[no-untyped-call]
        if backoff.left(address):
            return None
        backoff.begin(address)
        try:
            connection = await super()._get_conn(node_id, group=group)  # type: ignore[no-untyped-call]
        except BaseException:
            backoff.give_up(address)
            raise
        if connection is None:
            self._note_failure(address)
        else:
            self._note_success(address)
            self._prepare(connection)
        return connection

    @staticmethod
    def _note_failure(address: Address) -> None:
        backoff.failed(address)
        reporter.failed(address)

    @staticmethod
    def _note_success(address: Address) -> None:
        backoff.succeeded(address)
        reporter.succeeded(address)

    def _prepare(self, connection: Any) -> None:
        if connection in self._prepared or not connection.connected():
            return
        self._prepared.add(connection)
        _enable_keepalive(connection._writer.get_extra_info("socket"))  # noqa: SLF001
        if self._answer_seconds is not None:
            connection._request_timeout = self._answer_seconds  # noqa: SLF001
            _Silence(self, connection)

    def _on_connection_closed(self, conn: Any, reason: CloseReason | None) -> None:
        if reason is CloseReason.CONNECTION_TIMEOUT:
            backoff.suspect((conn.host, conn.port))
        if reason in BROKEN:
            for observer in _observers:
                observer()
        super()._on_connection_closed(conn, reason)  # type: ignore[no-untyped-call]

    def close_silent(self, connection: Any) -> None:
        """Close all connections to the broker of a silent connection."""
        nodes = {node for (node, _), one in self._conns.items() if one is connection}
        broker = f"{connection.host}:{connection.port}"
        log.warning("broker_silent", broker=broker, seconds=SILENCE_SECONDS)
        for (node, _), one in list(self._conns.items()):
            if node in nodes:
                one.close(reason=CloseReason.CONNECTION_TIMEOUT)

    def _address_of(self, node_id: Any) -> Address | None:
        broker = self.cluster.broker_metadata(node_id)
        return None if broker is None else (broker.host, broker.port)

    def _pause(self, node_id: Any) -> float:
        address = self._address_of(node_id)
        return 0.0 if address is None else backoff.left(address)


class _Silence:
    """Check every second whether a connection on which an answer is due brings any bytes.

    It counts checks, not seconds: a process that was paused has not read anything.
    """

    def __init__(self, client: _Client, connection: Any) -> None:
        self._client = weakref.ref(client)
        self._connection = weakref.ref(connection)
        self._loop = asyncio.get_running_loop()
        self._seen: object = None
        self._quiet = 0
        self._loop.call_later(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        client, connection = self._client(), self._connection()
        if client is None or connection is None or not connection.connected():
            return
        seen = _progress(connection)
        self._quiet = self._quiet + 1 if seen is not None and seen == self._seen else 0
        self._seen = seen
        if self._quiet >= SILENCE_SECONDS:
            client.close_silent(connection)
        else:
            self._loop.call_later(_CHECK_SECONDS, self._check)


def _progress(connection: Any) -> object:
    """Return which answer is due and its bytes so far; None if none can be expected now.

    A broker processes the requests of a connection one after the other.
    """
    if not connection._requests:  # noqa: SLF001
        return None
    correlation_id, request, _ = connection._requests[0]  # noqa: SLF001
    if request is not None and request.API_KEY in (_JOIN_GROUP, _SYNC_GROUP):
        return None
    return correlation_id, len(connection._reader._buffer)  # noqa: SLF001


def adopt(client: AIOKafkaClient, *, connect_seconds: float, answer_seconds: float | None) -> None:
    """Change a client that is not started: see the class.

    `answer_seconds` is the time limit of one answer, and a silence of a few seconds ends the
    connection; None keeps the client's own timeout.
    """
    inner: Any = client
    inner.__class__ = _Client
    inner._prepared = weakref.WeakSet()  # noqa: SLF001
    inner._request_timeout_ms = round(connect_seconds * 1000)  # noqa: SLF001
    inner._answer_seconds = answer_seconds  # noqa: SLF001


def adopt_producer(producer: AIOKafkaProducer, *, connect_seconds: float) -> None:
    """Change a producer that is not started; its requests keep their timeout."""
    adopt(producer.client, connect_seconds=connect_seconds, answer_seconds=None)
    accumulator: Any = producer._message_accumulator  # noqa: SLF001
    accumulator._pending_batches = _Pending()  # noqa: SLF001


class _Pending(set[Any]):
    """The batches on their way to Kafka.

    aiokafka removes a failed batch, but a batch that waited for a retry was removed before.
    """

    remove = set.discard


def fail_batches(producer: AIOKafkaProducer) -> None:
    """Fail all batches of a producer that can no longer send."""
    accumulator: Any = producer._message_accumulator  # noqa: SLF001
    accumulator.fail_all(KafkaConnectionError())
    for batch in itertools.chain(accumulator._pending_batches, *accumulator._batches.values()):  # noqa: SLF001
        for known in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if known.done() and not known.cancelled():
                known.exception()  # read, so that asyncio does not report it


def _enable_keepalive(connected: Any) -> None:
    """Turn on TCP keepalive, as far as the kernel supports it."""
    if connected is None:
        return
    # A second descriptor of the same socket: neither asyncio nor uvloop gives out the socket.
    with socket.socket(fileno=os.dup(connected.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _SOCKET_OPTIONS.items():
            if (option := getattr(socket, name, None)) is not None:
                same.setsockopt(socket.IPPROTO_TCP, option, value)


def _address(server: str) -> Address:
    [(host, port, _)] = collect_hosts([server])
    return host, port
