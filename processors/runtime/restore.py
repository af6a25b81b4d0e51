"""Restoring a store: read `messages` from the checkpoint to the end of the log."""

import logging
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from processors.runtime import clients, metrics
from processors.runtime.store import Store
from schemas.settings import Settings

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5


async def restore(settings: Settings, store: Store, partition: int) -> None:
    """Bring the store up to the end of its partition of `messages`.

    The caller has fenced every earlier owner, so the end does not move meanwhile.
    """
    changelog = TopicPartition(settings.topics.messages, partition)
    reader = clients.reader(settings)
    reader.assign([changelog])
    await reader.start()
    try:
        beginning = (await reader.beginning_offsets([changelog]))[changelog]
        end = (await reader.end_offsets([changelog]))[changelog]
        start = _start(store, beginning, end)
        if start < end:
            await _read(reader, changelog, store, start, end)
    finally:
        await reader.stop()


def _start(store: Store, beginning: int, end: int) -> int:
    """Where to begin; a checkpoint outside the log is of no use, and then neither is the store."""
    checkpoint = store.checkpoint
    if checkpoint is None:
        return beginning
    if beginning <= checkpoint <= end:
        return checkpoint
    log.warning(
        "the store's checkpoint %d is outside the log, %d to %d: starting anew",
        checkpoint,
        beginning,
        end,
    )
    store.wipe()
    return beginning


async def _read(
    reader: AIOKafkaConsumer, changelog: TopicPartition, store: Store, start: int, end: int
) -> None:
    log.info("restoring partition %d: offsets %d to %d", changelog.partition, start, end)
    reader.seek(changelog, start)
    told = began = time.monotonic()
    count = 0
    # The log may end in transaction markers: the position passes them, records do not.
    while (position := await reader.position(changelog)) < end:
        got = await reader.getmany(changelog, timeout_ms=100, max_records=5000)
        records = got.get(changelog, [])
        if records:
            states = {record.key: record.value for record in records if record.key is not None}
            store.write(states, records[-1].offset + 1)
            count += len(records)
            metrics.restored.inc(len(records))
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            share = 100 * (position - start) // (end - start)
            log.info("restoring partition %d: %d %%", changelog.partition, share)
    store.write({}, end)
    seconds = time.monotonic() - began
    log.info("restored partition %d: %d states in %.1f s", changelog.partition, count, seconds)
