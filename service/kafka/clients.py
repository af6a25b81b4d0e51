"""The Kafka clients: every option whose default is not safe is set here.

The evidence is in docs/decisions/0003-aiokafka.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import OffsetAndMetadata

from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.contradictions import REBALANCE_SECONDS
from service.errors import Problem, reason
from service.kafka.assignor import Assignor
from service.kafka.connections import BROKEN, adopt, adopt_producer, fail_batches
from service.kafka.failures import cause_of, diagnosed
from service.kafka.login import options
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

# Batches are the unit of throughput; well below the broker's limit of 1 MiB for a batch.
BATCH_BYTES = 512 * 1024
_FOREVER_MS = 2**31 - 1
_CLOSE_SECONDS = 1.0
# After a failed request aiokafka waits 0.1 s before it puts its batches back for a retry.
_SENDER_SECONDS = 0.3
_LEAVE_SECONDS = 5.0
FETCH_BYTES = 4 * 1024 * 1024
_METADATA_SECONDS = 10
_HEARTBEAT_SECONDS = 3
_REQUEST_SECONDS = 4
_READ_SECONDS = 60  # for an answer of many megabytes; a silent broker has less
_IDLE_SECONDS = 180
_ABSENT = (UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno)


def consumer(
    settings: Settings,
    group: str,
    *,
    identity: str | None = None,
    on_disk: Iterable[Partition] = (),
) -> AIOKafkaConsumer:
    """Return a consumer without autocommit or offset reset, at `read_committed`.

    `identity` is its name in the group unless the settings have one; `on_disk` are the partitions
    whose stores it has.
    """
    client = AIOKafkaConsumer(
        **options(settings),
        group_id=group,
        # A named worker returns to its partitions without a rebalance.
        group_instance_id=settings.instance or identity,
        enable_auto_commit=False,
        # A deleted offset must raise, and not move to another one.
        auto_offset_reset="none",
        isolation_level="read_committed",
        # aiokafka needs exactly one; it calls its own on the class, and this one keeps state.
        partition_assignment_strategy=[Assignor(on_disk)],
        session_timeout_ms=round(settings.session_timeout * 1000),
        # It also bounds how soon a member notices a rebalance.
        heartbeat_interval_ms=round(min(settings.session_timeout / 10, _HEARTBEAT_SECONDS) * 1000),
        rebalance_timeout_ms=REBALANCE_SECONDS * 1000,
        # A long time between polls is normal here: a task may restore for long, and has deadlines
        # of its own. aiokafka would leave the group, and rejoin only at the next poll.
        max_poll_interval_ms=_FOREVER_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
        # How soon `refuse_repartitioned` can notice.
        metadata_max_age_ms=_METADATA_SECONDS * 1000,
    )
    # JoinGroup waits as long as a rebalance may take.
    adopt(
        client._client,  # noqa: SLF001
        connect_seconds=_REQUEST_SECONDS,
        answer_seconds=REBALANCE_SECONDS + 5,
    )
    return client


def reader(
    settings: Settings, isolation: str = "read_committed", *, fetch_bytes: int = 2 * FETCH_BYTES
) -> AIOKafkaConsumer:
    """Return a consumer without a group, to read a topic back.

    It fetches `fetch_bytes` of a partition at a time, and at least one batch.
    """
    client = AIOKafkaConsumer(
        **options(settings),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation,
        max_partition_fetch_bytes=fetch_bytes,
    )
    adopt(
        client._client,  # noqa: SLF001
        connect_seconds=_REQUEST_SECONDS,
        answer_seconds=_READ_SECONDS,
    )
    return client


async def begin(client: AIOKafkaConsumer, asked: Collection[str] = ()) -> None:
    """Start a reader.

    `asked` are the topics whose offsets the caller will request: for each unknown topic aiokafka
    would fetch metadata and then wait for 0.1 s.
    """
    await client.start()
    if asked:
        await client._client.set_topics(asked)  # noqa: SLF001 (there is no public way)


@contextlib.asynccontextmanager
async def reading(
    settings: Settings, asked: Collection[str] = ()
) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a reader that has begun (see `begin`); every error of Kafka becomes a `Problem`."""
    client = reader(settings)
    try:
        await begin(client, asked)
        yield client
    except OffsetOutOfRangeError:
        raise Problem("deleted_while_read") from None
    except (KafkaError, TimeoutError) as error:
        raise await diagnosed(settings, error) from error
    finally:
        await leave(client)


def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
    """Return a producer; one with a transactional id fences every earlier one when it starts.

    Without an id, idempotence stays off: aiokafka's idempotent sends never time out.
    """
    transactional: dict[str, Any] = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": round(settings.transaction_timeout * 1000),
    }
    client = AIOKafkaProducer(
        **options(settings),
        **(transactional if transactional_id else {}),
        acks="all",
        compression_type="zstd",
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=_REQUEST_SECONDS * 1000,
        # Earlier than the broker or a network device does: that would count as a lost connection.
        connections_max_idle_ms=_IDLE_SECONDS * 1000,
    )
    adopt_producer(client, connect_seconds=_REQUEST_SECONDS)
    _Losses(client)
    return client


class _Losses:
    """Counts broken connections, not those closed when idle; notes a transaction's refusal.

    After a refusal aiokafka keeps the batches waiting.
    """

    def __init__(self, client: AIOKafkaProducer) -> None:
        self.count = 0
        self.refusal: BaseException | None = None
        self.deadline: asyncio.Timeout | None = None
        inner: Any = client.client
        self._closed = inner._on_connection_closed  # noqa: SLF001
        inner._on_connection_closed = self  # noqa: SLF001
        manager: Any = client._txn_manager  # noqa: SLF001
        if manager is not None:
            self._manager, self._fail = manager, manager.error_transaction
            manager.error_transaction = self._refuse

    def __call__(self, connection: object, reason: CloseReason | None) -> None:
        if reason in BROKEN:
            self.count += 1
            self._end()
        self._closed(connection, reason)

    def _refuse(self, error: BaseException) -> None:
        self._fail(error)
        self._manager._transaction_waiter.exception()  # noqa: SLF001 (read: asyncio is silent)
        self.refusal = error
        self._end()

    def _end(self) -> None:
        """End the work that has the deadline."""
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(0)
            self.deadline = None


def connected(client: AIOKafkaConsumer | AIOKafkaProducer) -> bool:
    """Whether the client has a connection to a broker now."""
    inner: Any = client._client if isinstance(client, AIOKafkaConsumer) else client.client  # noqa: SLF001
    return any(one.connected() for one in inner._conns.values())  # noqa: SLF001


def losses(client: AIOKafkaProducer) -> int:
    """Return how many connections the producer has lost so far.

    aiokafka repeats a request on a new connection without reporting it. The request on the old one
    may still arrive, and end or change a later transaction of the same epoch. And a broker that
    went down may have lost the end of a transaction that it had acknowledged.
    """
    return _counted(client).count


@contextlib.asynccontextmanager
async def unbroken(client: AIOKafkaProducer, seconds: float) -> AsyncIterator[None]:
    """Await `work` until a deadline, a refusal, or until the producer loses a connection.

    Raises `TimeoutError`, the refusal, or `KafkaConnectionError` for a lost connection.
    aiokafka waits 0.1 s before it retries on a new connection: until then the producer can be
    closed.
    """
    counted, before = _counted(client), losses(client)
    try:
        async with asyncio.timeout(seconds) as counted.deadline:
            yield
    except (KafkaError, TimeoutError):
        if counted.refusal is not None:
            raise counted.refusal from None
        if losses(client) > before:
            raise KafkaConnectionError("a connection was lost in a transaction") from None
        raise
    finally:
        counted.deadline = None


def _counted(client: AIOKafkaProducer) -> _Losses:
    inner: Any = client.client
    counted: _Losses = inner._on_connection_closed  # noqa: SLF001
    return counted


@contextlib.contextmanager
def explained(client: AIOKafkaProducer) -> Iterator[None]:
    """Raise the cause of a lost transaction, where aiokafka reports only that there is none.

    aiokafka's sender gets errors, above all a fencing, in the background.
    """
    try:
        yield
    except IllegalOperation as error:
        waiter: Any = client._txn_manager._transaction_waiter  # noqa: SLF001
        known = waiter.exception() if waiter.done() and not waiter.cancelled() else None
        raise known or KafkaError(str(error)) from None


async def end(
    client: AIOKafkaProducer,
    places: Iterable[TopicPartition],
    group: str,
    offsets: dict[TopicPartition, OffsetAndMetadata],
    *,
    commit: bool,
) -> None:
    """End open transactions of the producer's id on these partitions and its group's offsets.

    For a transaction that adds partitions and writes nothing to them, Kafka still writes a marker
    there; aiokafka adds a partition only with a batch.
    """
    await client.begin_transaction()
    await client.send_offsets_to_transaction(offsets, group)
    # Last: between this and the end nothing may happen, or Kafka aborts.
    for place in places:
        client._txn_manager.maybe_add_partition_to_txn(place)  # noqa: SLF001
    await (client.commit_transaction() if commit else client.abort_transaction())


async def abandon(client: AIOKafkaProducer, *, flush_seconds: float = 0) -> None:
    """Close a producer within seconds; whether its unsent records arrive is unknown.

    `flush_seconds` is the time for Kafka to acknowledge the records sent. `stop()` alone would
    flush and wait for pending requests, both without limit if the broker is unavailable.
    """
    sender = client._sender.sender_task  # noqa: SLF001
    if not (flush_seconds and await _stopped(client, flush_seconds)):
        await _cut_off(client, sender)
    if sender is not None and sender.done() and not sender.cancelled():
        sender.exception()  # read, so that asyncio does not report it
    fail_batches(client)


async def _stopped(client: AIOKafkaProducer, seconds: float) -> bool:
    """Whether the producer stops in time; after a failure `stop()` cannot be repeated."""
    try:
        async with asyncio.timeout(seconds):
            await client.stop()
    except (KafkaError, TimeoutError):
        return False
    return True


async def _cut_off(client: AIOKafkaProducer, sender: asyncio.Task[None] | None) -> None:
    """End a producer's sender first, so that it opens no connection again, then its connections.

    The sender ends once its requests have failed; a second cancellation abandons them too.
    """
    client._closed = True  # noqa: SLF001
    if sender is not None:
        sender.cancel()
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.client.close()
    if sender is not None and not sender.done():
        await asyncio.wait([sender], timeout=_SENDER_SECONDS)
    if sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait([sender], timeout=_SENDER_SECONDS)


async def existing(client: AIOKafkaConsumer, topics: Collection[str]) -> set[str]:
    """Ask any broker which of the topics exist; the request creates none."""
    inner: Any = client._client  # noqa: SLF001
    node = inner.get_random_node()
    if node is None:
        raise KafkaConnectionError("no broker is known yet")
    request = MetadataRequest(sorted(topics), allow_auto_topic_creation=False)
    answer = await inner.send(node, request)
    return {name for code, name, *_ in answer.topics if code not in _ABSENT}


async def broken(client: AIOKafkaProducer) -> None:
    """Wait until a started producer's sender has ended: every later send fails."""
    await asyncio.wait([client._sender.sender_task])  # noqa: SLF001 (there is no public sign)


async def join(settings: Settings, client: AIOKafkaConsumer) -> None:
    """Start a consumer; raises `Problem` if the group or the broker refuses it."""
    try:
        await client.start()
    except (KafkaError, TimeoutError) as error:
        raise await cause_of(settings, error) or Problem(
            "joining_failed", why=reason(error)
        ) from error


async def leave(client: AIOKafkaConsumer, *, for_good: bool = False) -> None:
    """Stop a consumer within seconds; without a broker its session expires there.

    A static member keeps its partitions until its session ends, unless it leaves `for_good`.
    """
    if for_good and client._coordinator is not None:  # noqa: SLF001
        client._coordinator._group_instance_id = None  # noqa: SLF001
    # In a task of its own: without a broker, stop() may raise its own requests' CancelledError.
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait([stopping], timeout=_LEAVE_SECONDS)
    if not stopping.done() or stopping.cancelled() or stopping.exception():
        stopping.cancel()
        log.warning("consumer_abandoned")


def check(client: AIOKafkaConsumer) -> None:
    """Raise the error of the group; `getmany` does so, but is not always called."""
    if client._coordinator is not None:  # noqa: SLF001
        client._coordinator.check_errors()  # noqa: SLF001


def refuse_repartitioned(client: AIOKafkaConsumer, topics: Iterable[str], expected: int) -> None:
    """Raise `Problem` if a topic has more partitions than at the start."""
    for topic in topics:
        found = client.partitions_for_topic(topic)
        if found and len(found) != expected:
            raise Problem("partition_mismatch", topic=topic, found=len(found), expected=expected)


async def start_offsets(
    client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return where the group continues: its committed offsets, or else the start of the log.

    Raises `Problem` if retention has overtaken the group: it never skips deleted records silently.
    """
    wanted = list(partitions)
    beginnings = await client.beginning_offsets(wanted)
    offsets = {}
    for partition in wanted:
        committed = await client.committed(partition)
        if committed is not None and committed < beginnings[partition]:
            raise await overtaken(client, partition, committed)
        if committed is None and beginnings[partition] > 0:
            log.warning(
                "group_without_offset",
                topic=partition.topic,
                partition=partition.partition,
                offset=beginnings[partition],
            )
        offsets[partition] = beginnings[partition] if committed is None else committed
    return offsets


async def committed_offsets(
    client: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offsets that the group has committed, with one request."""
    coordinator: Any = client._coordinator  # noqa: SLF001
    found = await coordinator.fetch_committed_offsets(partitions)
    return {tp: known.offset for tp, known in found.items() if known.offset >= 0}


async def offset_metadata(client: AIOKafkaConsumer, partition: TopicPartition) -> str:
    """Return the metadata of the group's committed offset; "" if it has none.

    aiokafka's `committed` drops it.
    """
    coordinator: Any = client._coordinator  # noqa: SLF001
    found = await coordinator.fetch_committed_offsets([partition])
    return str(found[partition].metadata) if partition in found else ""


async def overtaken(client: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Problem:
    """Return the problem of an offset that the log no longer holds, and how to restore it."""
    at = {"topic": partition.topic, "partition": partition.partition, "offset": offset}
    try:
        [begin] = (await client.beginning_offsets([partition])).values()
        [end] = (await client.end_offsets([partition])).values()
        [first] = (await client.offsets_for_times({partition: 0})).values()
    except (KafkaError, TimeoutError):
        return Problem("offset_out_of_range", **at)
    if offset > end:
        return Problem("log_ends_early", **at, end=end)
    until = to_iso(first.timestamp) if first else ""
    return Problem("retention_overtook", **at, begin=begin, received_before=until)
