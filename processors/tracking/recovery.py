"""Recovery of one partition of the tracker; it also finds states that a split transaction lost."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from processors.runtime.exactly_once import recovery
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.outputs import Outputs
from processors.runtime.exactly_once.restore import discard
from processors.tracking import split_transactions
from processors.tracking.incomplete_transactions import LeftOut
from processors.tracking.session import Session
from processors.tracking.state_store import Store
from schemas.processor_list import TRACK
from service.settings import Settings


async def recover(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    partition: TopicPartition,
    *,
    open_store: Callable[[], Store],
    uncut: Callable[[], AbstractContextManager[None]],
) -> Session:
    """Start the producer and return a session with it, as `runtime.exactly_once.recovery` says."""
    left_out: LeftOut | None = None

    async def incomplete(store: Store, offset: int, note: Note) -> LeftOut:
        nonlocal left_out
        committed, last = await asyncio.gather(
            split_transactions.committed(settings, partition, offset, note),
            split_transactions.last_time(settings, outputs.changelog),
        )
        if store.anchor is not None and committed.may_lack(store.anchor.timestamp):
            why = "Kafka did not commit all of its last transaction"
            discard(outputs.changelog, store, why)
        left_out = LeftOut(committed, last)
        return left_out

    outputs = outputs_of(settings, partition.partition)
    known = await recovery.recover(
        settings,
        consumer,
        producer,
        partition,
        outputs,
        open_store=open_store,
        uncut=uncut,
        incomplete=incomplete,
    )
    assert left_out is not None  # noqa: S101 - the recovery has asked
    found = await split_transactions.find(
        settings, partition, known.offset, known.note, known.stamp, left_out=left_out.times
    )
    return Session(
        partition=partition,
        producer=producer,
        store=known.store,
        losses=known.losses,
        stamp=max(known.stamp, found.note.latest, *left_out.times),
        offset=found.offset,
        note=found.note,
        seen=found.seen,
        repaired_to=found.repaired_to,
        left_out=list(left_out.keys),
    )


def outputs_of(settings: Settings, number: int) -> Outputs:
    """Return where the tracker's task of that number writes."""
    topics = settings.topics
    own = (topics.messages, topics.statuses, topics.events, topics.inbound)
    return Outputs(
        TRACK.name,
        topics.group(TRACK.name),
        tuple(TopicPartition(name, number) for name in own),
        # Normalise writes there too, without transactions.
        (TopicPartition(topics.dead_letters, number),),
    )
