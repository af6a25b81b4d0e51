"""Recovery of one partition: from a new producer to a session that can continue.

The order: fence all earlier owners, and only then read the committed offset; end the transactions
that Kafka left open; restore the store.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.runtime import failpoints
from processors.runtime.exactly_once.end_open_transactions import end_open
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.outputs import Outputs
from processors.runtime.exactly_once.partition_store import PartitionStore
from processors.runtime.exactly_once.restore import LeaveOut, discard, restore
from processors.runtime.exactly_once.session import S, Session
from service.kafka import clients
from service.settings import Settings

_ASK_SECONDS = 30.0

Incomplete = Callable[[S, int, Note], Awaitable[LeaveOut]]
"""Returns which records to leave out of a restore, by the committed offset and its note.

It may wipe the store, if that holds such records.
"""


async def restore_all(_store: PartitionStore, _offset: int, _note: Note) -> LeaveOut:
    """Leave out none."""
    return lambda _: False


async def recover(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    partition: TopicPartition,
    outputs: Outputs,
    *,
    open_store: Callable[[], S],
    uncut: Callable[[], AbstractContextManager[None]],
    incomplete: Incomplete[S] = restore_all,
) -> Session[S]:
    """Start the producer and return a session with it.

    The store is opened only after the earlier owner is fenced. Within `uncut` the caller must wait
    for the end: a cancellation there may do harm.
    """
    async with asyncio.timeout(4 * settings.transaction_timeout):
        await producer.start()
    losses = clients.losses(producer)
    failpoints.reach(f"{outputs.name}.after_fencing")
    async with asyncio.timeout(_ASK_SECONDS):
        offsets = await clients.start_offsets(consumer, [partition])
        metadata = await clients.offset_metadata(consumer, partition)
    with uncut():
        committed = await end_open(
            settings,
            producer,
            outputs,
            partition,
            OffsetAndMetadata(offsets[partition], metadata),
        )
    note = Note.of(committed.metadata)
    store = open_store()
    if store.has_gaps:
        # What was left out followed from the offset that was committed then.
        discard(outputs.changelog, store, "states were left out of its last restore")
    leave_out = await incomplete(store, committed.offset, note)
    await restore(settings, store, outputs.changelog, leave_out, f"{outputs.name}.during_restore")
    return Session(
        partition=partition,
        producer=producer,
        store=store,
        losses=losses,
        stamp=store.anchor.timestamp if store.anchor else 0,
        offset=committed.offset,
        note=note,
    )
