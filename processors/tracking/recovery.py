"""Recovery of one partition: from a new producer to a session that can continue.

The order: fence all earlier owners, and only then read the committed offset; end the transactions
that Kafka left open; restore the store; find the states that a split transaction lost.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from processors.runtime import failpoints
from processors.tracking import split_transactions
from processors.tracking.end_open_transactions import end_open
from processors.tracking.restore import restore
from processors.tracking.session import Session
from processors.tracking.split_transactions import Note
from processors.tracking.state_store import Store
from service.kafka import clients
from service.settings import Settings

_ASK_SECONDS = 30.0


async def recover(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    partition: TopicPartition,
    *,
    open_store: Callable[[], Store],
    uncut: Callable[[], AbstractContextManager[None]],
) -> Session:
    """Start the producer and return a session with it.

    The store is opened only after the earlier owner is fenced. Within `uncut` the caller must wait
    for the end: a cancellation there may do harm.
    """
    async with asyncio.timeout(4 * settings.transaction_timeout):
        await producer.start()
    losses = clients.losses(producer)
    failpoints.reach("track.after_fencing")
    async with asyncio.timeout(_ASK_SECONDS):
        offsets = await clients.start_offsets(consumer, [partition])
        metadata = await clients.offset_metadata(consumer, partition)
    with uncut():
        offset, metadata = await end_open(
            settings, producer, partition, offsets[partition], metadata
        )
    store = open_store()
    await restore(settings, store, partition.partition)
    newest = store.anchor.timestamp if store.anchor else 0
    found = await split_transactions.find(settings, partition, offset, Note.of(metadata), newest)
    return Session(
        partition=partition,
        producer=producer,
        store=store,
        losses=losses,
        stamp=max(newest, found.note.latest),
        offset=found.offset,
        note=found.note,
        seen=found.seen,
        repaired_to=found.repaired_to,
    )
