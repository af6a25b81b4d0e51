"""The Kafka clients, with the options that make them safe: every default that is not, is set here.

The evidence is in docs/decisions/0003-aiokafka.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.errors import Problem, cut_differently, unreachable
from service.kafka.assignor import Assignor
from service.kafka.connections import adopt, adopt_producer, fail_batches
from service.settings import Settings

log = logging.getLogger(__name__)

# Batches are the unit of throughput; well below the broker's limit of 1 MiB for a batch.
BATCH_BYTES = 512 * 1024
_FOREVER_MS = 2**31 - 1
_CLOSE_SECONDS = 1.0
# After a request that failed aiokafka waits 0.1 s, to put its batches back for another try.
_SENDER_SECONDS = 0.3
_LEAVE_SECONDS = 5.0
FETCH_BYTES = 4 * 1024 * 1024
REBALANCE_SECONDS = 60
_METADATA_SECONDS = 10
_HEARTBEAT_SECONDS = 3
_REQUEST_SECONDS = 4
_READ_SECONDS = 60  # for an answer of many megabytes; a silent broker has less
_IDLE_SECONDS = 180
_BROKEN = (CloseReason.CONNECTION_BROKEN, CloseReason.CONNECTION_TIMEOUT, CloseReason.OUT_OF_SYNC)


def consumer(
    settings: Settings,
    group: str,
    *,
    identity: str | None = None,
    on_disk: Iterable[Partition] = (),
) -> AIOKafkaConsumer:
    """Make a consumer that never commits, never jumps and reads only what is committed.

    `identity` is its name in the group unless the settings have one, `on_disk` what it has already.
    """
    client = AIOKafkaConsumer(
        **settings.kafka_options(),
        group_id=group,
        # A named worker comes back to its partitions, and the group does not even notice.
        group_instance_id=settings.instance or identity,
        enable_auto_commit=False,
        # An offset that is gone must raise, not move to wherever there is data.
        auto_offset_reset="none",
        isolation_level="read_committed",
        # aiokafka wants exactly one; its own are called on their class, this one keeps state.
        partition_assignment_strategy=[Assignor(on_disk)],
        session_timeout_ms=round(settings.session_timeout * 1000),
        # It is also how soon a member hears that the group is rebalanced.
        heartbeat_interval_ms=round(min(settings.session_timeout / 10, _HEARTBEAT_SECONDS) * 1000),
        rebalance_timeout_ms=REBALANCE_SECONDS * 1000,
        # Not asking for records is no sign of death here: a task may restore for long, and has
        # deadlines of its own. aiokafka would leave the group, and come back only when asked.
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


def reader(settings: Settings, isolation: str = "read_committed") -> AIOKafkaConsumer:
    """Make a consumer without a group, to read a topic back."""
    client = AIOKafkaConsumer(
        **settings.kafka_options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation,
        max_partition_fetch_bytes=2 * FETCH_BYTES,
    )
    adopt(
        client._client,  # noqa: SLF001
        connect_seconds=_REQUEST_SECONDS,
        answer_seconds=_READ_SECONDS,
    )
    return client


@contextlib.asynccontextmanager
async def reading(
    settings: Settings, asked: Collection[str] = ()
) -> AsyncIterator[AIOKafkaConsumer]:
    """A reader under way; whatever fails on it becomes a `Problem`.

    `asked` are the topics whose offsets it will be asked for: aiokafka, asked for one it does not
    know, would look it up and then wait for 0.1 s.
    """
    client = reader(settings)
    try:
        await client.start()
        if asked:
            await client._client.set_topics(asked)  # noqa: SLF001 (there is no public way)
        yield client
    except OffsetOutOfRangeError:
        raise Problem(
            "the topic's retention deleted records before they could be read; start again"
        ) from None
    except (KafkaError, TimeoutError) as error:
        raise unreachable(settings.kafka, error) from error
    finally:
        await leave(client)


def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
    """Make a producer; one with a transactional id fences every earlier one when it starts.

    Without an id, idempotence stays off: aiokafka's idempotent sends never time out.
    """
    transactional: dict[str, Any] = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": round(settings.transaction_timeout * 1000),
    }
    client = AIOKafkaProducer(
        **settings.kafka_options(),
        **(transactional if transactional_id else {}),
        acks="all",
        compression_type="zstd",
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=_REQUEST_SECONDS * 1000,
        # Before the broker, or whatever lies between, does: that would be a loss.
        connections_max_idle_ms=_IDLE_SECONDS * 1000,
    )
    adopt_producer(client, connect_seconds=_REQUEST_SECONDS)
    _Losses(client)
    return client


class _Losses:
    """Counts the connections of a client that broke; one that idled for long was only closed."""

    def __init__(self, client: AIOKafkaProducer) -> None:
        self.count = 0
        self.deadline: asyncio.Timeout | None = None
        inner: Any = client.client
        self._closed = inner._on_connection_closed  # noqa: SLF001
        inner._on_connection_closed = self  # noqa: SLF001

    def __call__(self, connection: object, reason: CloseReason | None) -> None:
        if reason in _BROKEN:
            self.count += 1
            if self.deadline is not None and not self.deadline.expired():
                self.deadline.reschedule(0)
                self.deadline = None
        self._closed(connection, reason)


def losses(client: AIOKafkaProducer) -> int:
    """How many connections the producer has lost so far.

    aiokafka sends a request again on a new connection without a word. What was sent on the old one
    may still arrive, and end or change a later transaction of the same epoch. And a broker that
    went down may have lost the end of a transaction that it had acknowledged.
    """
    return _counted(client).count


@contextlib.asynccontextmanager
async def unbroken(client: AIOKafkaProducer, seconds: float) -> AsyncIterator[None]:
    """Do something within a deadline, which is now if the producer loses a connection.

    Raises `TimeoutError`, `KafkaConnectionError` if that is why. aiokafka waits 0.1 s before it
    asks again on a new connection: until then the producer can be closed.
    """
    counted, before = _counted(client), losses(client)
    try:
        async with asyncio.timeout(seconds) as counted.deadline:
            yield
    except TimeoutError:
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
    """Raise why there is no transaction any more, where aiokafka says only that there is none.

    Its sender meets errors, a fencing above all, in the background.
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
    """End whatever the producer's id has open in these places, and in its group's offsets.

    A transaction that adds partitions and writes nothing to them has Kafka write its marker there
    all the same; aiokafka adds a partition only with a batch.
    """
    await client.begin_transaction()
    await client.send_offsets_to_transaction(offsets, group)
    # Last: between this and the end nothing may happen, or Kafka aborts.
    for place in places:
        client._txn_manager.maybe_add_partition_to_txn(place)  # noqa: SLF001
    await (client.commit_transaction() if commit else client.abort_transaction())


async def abandon(client: AIOKafkaProducer, *, flush_seconds: float = 0) -> None:
    """Close a producer within seconds; whether what it still holds arrives stays unknown.

    With `flush_seconds` Kafka has so long to acknowledge what was sent. `stop()` alone would flush
    and wait for requests under way, both for ever if the broker is away.
    """
    sender = client._sender.sender_task  # noqa: SLF001
    if not (flush_seconds and await _stopped(client, flush_seconds)):
        await _cut_off(client, sender)
    if sender is not None and sender.done() and not sender.cancelled():
        sender.exception()  # read, so that asyncio does not report it
    fail_batches(client)


async def _stopped(client: AIOKafkaProducer, seconds: float) -> bool:
    """Whether a producer stops in time; after a failure `stop()` cannot be repeated."""
    try:
        async with asyncio.timeout(seconds):
            await client.stop()
    except (KafkaError, TimeoutError):
        return False
    return True


async def _cut_off(client: AIOKafkaProducer, sender: asyncio.Task[None] | None) -> None:
    """End a producer's sender first, so that it opens no connection again, then its connections.

    The sender ends once its requests have failed; cancelled a second time it gives them up too.
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


async def broken(client: AIOKafkaProducer) -> None:
    """Wait until a started producer's sender has ended: it will fail everything it is given."""
    await asyncio.wait([client._sender.sender_task])  # noqa: SLF001 (there is no public sign)


async def join(client: AIOKafkaConsumer) -> None:
    """Start a consumer; `Problem` if the group or the broker will not have it."""
    try:
        await client.start()
    except KafkaError as error:
        raise Problem(
            f"joining the consumer group failed: {error}; look at whether Kafka answers and lets "
            "this user read, and whether another program uses the group"
        ) from error


async def leave(client: AIOKafkaConsumer, *, for_good: bool = False) -> None:
    """Stop a consumer within seconds; if the broker is away its session runs out there.

    A static member keeps its place until its session ends, unless it leaves `for_good`.
    """
    if for_good and client._coordinator is not None:  # noqa: SLF001
        client._coordinator._group_instance_id = None  # noqa: SLF001
    # Apart from us: while the broker is away, stop() may raise its own requests' CancelledError.
    stopping = asyncio.create_task(client.stop())
    await asyncio.wait([stopping], timeout=_LEAVE_SECONDS)
    if not stopping.done() or stopping.cancelled() or stopping.exception():
        stopping.cancel()
        log.warning("closed a consumer while Kafka does not answer")


def check(client: AIOKafkaConsumer) -> None:
    """Raise what went wrong in the group; `getmany` does so, but is not always called."""
    if client._coordinator is not None:  # noqa: SLF001
        client._coordinator.check_errors()  # noqa: SLF001


def refuse_repartitioned(client: AIOKafkaConsumer, topics: Iterable[str], expected: int) -> None:
    """Raise `Problem` if a topic has got more partitions since the start."""
    for topic in topics:
        found = client.partitions_for_topic(topic)
        if found and len(found) != expected:
            raise Problem(cut_differently(topic, len(found), expected))


async def start_offsets(
    client: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where the group goes on: its committed offsets, or the start of the log if it has none.

    Raises `Problem` if retention has overtaken the group: what is gone is never skipped silently.
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
                "%s[%d]: the group has no offset, so it begins where the log does, at %d",
                partition.topic,
                partition.partition,
                beginnings[partition],
            )
        offsets[partition] = beginnings[partition] if committed is None else committed
    return offsets


async def offset_metadata(client: AIOKafkaConsumer, partition: TopicPartition) -> str:
    """The metadata of the offset the group has committed; "" if it has none.

    aiokafka's `committed` drops it.
    """
    coordinator: Any = client._coordinator  # noqa: SLF001
    found = await coordinator.fetch_committed_offsets([partition])
    return str(found[partition].metadata) if partition in found else ""


async def overtaken(client: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Problem:
    """Say what the log no longer holds of what was to be read next, and how to get it back."""
    place = f"{partition.topic}[{partition.partition}] was to be read from offset {offset}, but now"
    try:
        [begin] = (await client.beginning_offsets([partition])).values()
        [end] = (await client.end_offsets([partition])).values()
        [first] = (await client.offsets_for_times({partition: 0})).values()
    except (KafkaError, TimeoutError):
        return Problem(f"{place} the log does not hold it; start again to learn what it holds")
    accept = "accept it by setting the group's offset by hand (docs/operations.md)"
    if offset > end:
        return Problem(
            f"{place} ends at {end}: the topic was made anew, or Kafka lost records; replay what "
            f"is missing (bluetick replay), then {accept}"
        )
    until = f", received before {to_iso(first.timestamp)}," if first else ""
    return Problem(
        f"{place} starts at {begin}: retention deleted {begin - offset} records, {offset} to "
        f"{begin - 1}{until} that were never processed; get them back "
        f"({_way_back(partition, offset, begin)}), then {accept}"
    )


def _way_back(partition: TopicPartition, offset: int, begin: int) -> str:
    """The command that brings back what a raw topic, or `observations`, no longer holds."""
    _, raw, provider = partition.topic.rpartition(".raw.")
    if not raw:
        return "the bodies they came from, by their time: bluetick replay run --from TIME"
    place = f"{partition.partition}:{offset}-{begin}"
    return f"bluetick replay run --archive URL --provider {provider} --offsets {place}"
