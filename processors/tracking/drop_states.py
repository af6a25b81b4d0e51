"""Deleting states from outside of the tracker: tombstones, written as their owner would.

While no tracker runs, a command becomes the owner of a partition for some transactions: it fences
earlier owners, ends open transactions, restores a store, and commits tombstones as the tracker
commits the states that timers drop (decision 31). The trackers' stores read them at the next start.
"""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from processors.tracking.batch_types import Reduced
from processors.tracking.commit_batch import publish
from processors.tracking.recovery import recover
from processors.tracking.session import Session
from processors.tracking.state_store import Store
from schemas.processor_list import TRACK
from service.errors import Problem
from service.kafka import clients
from service.kafka.clock import clock
from service.kafka.failures import diagnosed
from service.settings import Settings

_MOST = 1000  # tombstones in one transaction


async def drop_states(settings: Settings, keys: Mapping[int, Collection[str]]) -> None:
    """Write the tombstones of keys of `messages`, by partition. Raises `Problem`.

    After an error some are written: the same call may be made again.
    """
    await clock.ensure(settings)
    try:
        for partition, names in sorted(keys.items()):
            with TemporaryDirectory(prefix="bluetick-forget-") as directory:
                await _drop(settings, partition, names, Path(directory) / "store")
    except (KafkaError, TimeoutError) as error:
        raise await diagnosed(settings, error) from error


async def _drop(settings: Settings, number: int, names: Collection[str], directory: Path) -> None:
    partition = TopicPartition(settings.topics.observations, number)
    topic = settings.topics.messages
    consumer = clients.consumer(settings, settings.topics.group(TRACK.name))
    consumer.assign([partition])
    producer = clients.producer(settings, settings.topics.transactional_id(number))
    stores: list[Store] = []

    def open_store() -> Store:
        stores.append(Store(directory, f"{topic}[{number}]"))
        return stores[0]

    try:
        await consumer.start()
        session = await recover(
            settings, consumer, producer, partition, open_store=open_store, uncut=nullcontext
        )
        await _write(settings, session, names)
    except ProducerFenced as error:
        raise Problem("states_taken_over", topic=topic, partition=number) from error
    finally:
        await clients.abandon(producer)
        await clients.leave(consumer)
        for store in stores:
            store.close()


async def _write(settings: Settings, session: Session, names: Collection[str]) -> None:
    """Write tombstones in transactions of a bounded size."""
    left = iter(sorted(names))
    while some := list(islice(left, _MOST)):
        states: dict[bytes, bytes | None] = dict.fromkeys(name.encode() for name in some)
        await publish(settings, session, Reduced(states=states), None, apart=False)
