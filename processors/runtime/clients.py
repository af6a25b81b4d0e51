"""The Kafka clients, with the options that make them safe: every default that is not, is set here.

The evidence is in docs/decisions/0003-aiokafka.md.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from schemas.problem import Problem
from schemas.settings import Settings

# Batches are the unit of throughput; well below the broker's limit of 1 MiB for a batch.
BATCH_BYTES = 512 * 1024
FETCH_BYTES = 4 * 1024 * 1024
REBALANCE_SECONDS = 60


def consumer(settings: Settings, group: str) -> AIOKafkaConsumer:
    """Make a consumer that never commits, never jumps and reads only what is committed."""
    return AIOKafkaConsumer(
        **settings.kafka_options(),
        group_id=group,
        enable_auto_commit=False,
        # An offset that is gone must raise, not move to wherever there is data.
        auto_offset_reset="none",
        isolation_level="read_committed",
        # Range puts partition p of every topic on the same member; aiokafka wants exactly one.
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=round(settings.session_timeout * 1000),
        heartbeat_interval_ms=round(settings.session_timeout * 100),
        rebalance_timeout_ms=REBALANCE_SECONDS * 1000,
        # JoinGroup waits as long as a rebalance may take, under this timeout.
        request_timeout_ms=(REBALANCE_SECONDS + 5) * 1000,
        max_partition_fetch_bytes=FETCH_BYTES,
    )


def reader(settings: Settings) -> AIOKafkaConsumer:
    """Make a consumer without a group, to read a topic back."""
    return AIOKafkaConsumer(
        **settings.kafka_options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=2 * FETCH_BYTES,
    )


def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
    """Make a producer; one with a transactional id fences every earlier one when it starts.

    Without an id, idempotence stays off: aiokafka's idempotent sends never time out.
    """
    transactional: dict[str, Any] = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": round(settings.transaction_timeout * 1000),
    }
    return AIOKafkaProducer(
        **settings.kafka_options(),
        **(transactional if transactional_id else {}),
        acks="all",
        compression_type="zstd",
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=round(settings.publish_deadline * 1000),
    )


async def abandon(client: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it still holds: its outcome is not ours to know.

    `stop()` would flush first, for ever if the broker is away, and cannot be called twice.
    """
    client._closed = True  # noqa: SLF001
    with contextlib.suppress(KafkaError, asyncio.CancelledError):
        await client._sender.close()  # noqa: SLF001
    with contextlib.suppress(KafkaError):
        await client.client.close()


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
            raise Problem(overtaken(partition, committed, beginnings[partition]))
        offsets[partition] = beginnings[partition] if committed is None else committed
    return offsets


def overtaken(partition: TopicPartition, offset: int, beginning: int | None = None) -> str:
    """Say that the log no longer holds what was to be read next."""
    start = "later" if beginning is None else f"at {beginning}"
    return (
        f"{partition.topic}[{partition.partition}] was to be read from offset {offset}, but now "
        f"starts {start}: retention deleted records that were never processed; restore them, or "
        "accept the gap by setting the group's offset by hand"
    )
