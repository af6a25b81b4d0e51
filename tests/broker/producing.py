"""Writing records to topics in place of the services upstream."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from processors.runtime.record_batches import Outbox
from service.kafka import clients
from service.settings import Settings


class Record(NamedTuple):
    """One record to write; without a timestamp (Unix ms) it gets the current time."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int | None = None


async def write(settings: Settings, records: Iterable[Record]) -> None:
    """Write records in order, and wait until Kafka acknowledges all of them."""
    producer = clients.producer(settings)
    await producer.start()
    outbox = Outbox(producer)
    for record in records:
        outbox.add(
            record.topic,
            record.partition,
            key=record.key,
            value=record.value,
            timestamp=record.timestamp or round(time.time() * 1000),
            headers=list(record.headers),
        )
    await outbox.send()
    await producer.stop()


async def write_aborted(settings: Settings, topic: str, partition: int) -> None:
    """Write a record in a transaction that is aborted: two offsets that no reader gets.

    Kafka writes the second one, the marker, at any time after this returns.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        transactional_id=f"{settings.namespace}.aborted-{partition}",
    )
    async with producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"{}", partition=partition)
        await producer.abort_transaction()
