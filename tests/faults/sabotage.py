"""A worker that breaks one rule on purpose: `python -m tests.faults.sabotage <rule> <service>`.

The fault suite must notice each (tests.faults.controls). Product code has no switches for this: the
rule is broken by patching, in this process alone. `markers-lost:<topic>,...` is none of its rules:
it makes of the broker what Kafka is at its worst, and must do no harm.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.transaction_manager import TransactionManager, TransactionState

import bluetick
from processors.runtime import failpoints
from processors.runtime.record_batches import Outbox
from processors.tracking.partition_task import Task
from providers import NAMES
from schemas.topics import Topics
from service.kafka import clients
from service.settings import Settings

_PATIENCE_SECONDS = 60
_LOOK_SECONDS = 0.01


def id_per_worker() -> None:
    """Give every worker transactional ids of its own: nobody fences the owner before it."""

    def transactional_id(topics: Topics, partition: int) -> str:
        return f"{topics.namespace}.track.{os.getpid()}.{partition}"

    _patch(Topics, "transactional_id", transactional_id)


def deliveries_unseen() -> None:
    """Commit without a look at what became of the batches."""

    async def send(outbox: Outbox) -> dict[str, int | None]:
        deliveries = []
        for batch in outbox._batches:
            batch.builder.close()
            sent = outbox._producer.send_batch(
                batch.builder, batch.topic, partition=batch.partition
            )
            deliveries.append(await sent)
        await asyncio.gather(*deliveries, return_exceptions=True)
        return {}

    _patch(Outbox, "send", send)


def store_first() -> None:
    """Write the states to the store before they are committed, and to the disk at once."""
    publish = Task._transaction

    async def transaction(task: Task, producer: Any, work: Any, result: Any) -> Any:
        assert task._store is not None
        task._store.write(result.states, None, result.armed, result.spent)
        task._store._db.flush()
        return await publish(task, producer, work, result)

    _patch(Task, "_transaction", transaction)


def producer_reused() -> None:
    """Go on with the same producer after an error, from what is committed at that moment.

    It does not wait for what is open: the broker would abort that meanwhile, and refuse the
    producer from then on, so that the tracker would end aloud and do no harm.
    """
    kept: dict[str, AIOKafkaProducer] = {}
    make, read, abandon = clients.producer, clients.reader, clients.abandon

    def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
        if transactional_id is None:
            return make(settings)
        if transactional_id not in kept:
            # Whoever trusts a producer for ever lets it try for long.
            patient = settings.model_copy(update={"transaction_timeout": _PATIENCE_SECONDS})
            kept[transactional_id] = make(patient, transactional_id)
            return kept[transactional_id]
        return _again(kept[transactional_id])

    def reader(settings: Settings, _: str = "") -> AIOKafkaConsumer:
        return read(settings)  # of what is committed: nothing looks open

    async def keep(client: AIOKafkaProducer) -> None:
        if client not in kept.values():
            await abandon(client)

    _patch(clients, "producer", producer)
    _patch(clients, "reader", reader)
    _patch(clients, "abandon", keep)
    _patch(clients, "_REQUEST_SECONDS", _PATIENCE_SECONDS)


def losses_unseen() -> None:
    """Let aiokafka ask again on a new connection, and think nothing of it."""

    def none(*_: object) -> int:
        return 0

    _patch(clients, "losses", none)
    _patch(clients._Losses, "__call__", none)


def markers_lost(*names: str) -> None:
    """Do not tell Kafka of these topics, or of `offsets`, in the transaction it is to die in.

    So it ends the transaction, and no marker is written there; it must not verify transactions. Of
    one place it is told first: it takes none before it has ended the transaction before.
    """
    begin: Any = AIOKafkaProducer.begin_transaction
    add_partition: Any = TransactionManager.maybe_add_partition_to_txn
    add_offsets: Any = TransactionManager.add_offsets_to_txn

    def last() -> bool:
        return failpoints._left == 1

    async def begin_transaction(producer: Any) -> None:
        await begin(producer)
        if last():
            manager = producer._txn_manager
            namespace = manager.transactional_id.partition(".track.")[0]
            place = TopicPartition(Topics(namespace, providers=NAMES).dead_letters, 0)
            add_partition(manager, place)
            while place not in manager.txn_partitions:  # noqa: ASYNC110 - aiokafka has no event
                await asyncio.sleep(_LOOK_SECONDS)

    def maybe_add_partition_to_txn(manager: Any, place: Any) -> None:
        if last() and place.topic.rpartition(".")[2] in names:
            manager._txn_partitions.add(place)
        add_partition(manager, place)

    def add_offsets_to_txn(manager: Any, offsets: Any, group: str) -> Any:
        if last() and "offsets" in names:
            manager.consumer_group_added(group)
        return add_offsets(manager, offsets, group)

    _patch(AIOKafkaProducer, "begin_transaction", begin_transaction)
    _patch(TransactionManager, "maybe_add_partition_to_txn", maybe_add_partition_to_txn)
    _patch(TransactionManager, "add_offsets_to_txn", add_offsets_to_txn)


def _again(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """The producer as it is; it begins a transaction when the last one has ended.

    One that was not to be committed yet is aborted: nobody else would end it.
    """
    begin: Any = AIOKafkaProducer.begin_transaction
    manager: Any = producer._txn_manager

    async def start() -> None:
        pass

    async def begin_transaction() -> None:
        if manager.state in (TransactionState.IN_TRANSACTION, TransactionState.ABORTABLE_ERROR):
            await producer.abort_transaction()
        # Shielded: who is cut short here may come again.
        await asyncio.shield(manager.wait_for_transaction_end())
        await begin(producer)

    _patch(producer, "start", start)
    _patch(producer, "begin_transaction", begin_transaction)
    return producer


def _patch(owner: object, name: str, value: object) -> None:
    assert hasattr(owner, name), f"there is no {name} to break any more"
    setattr(owner, name, value)


RULES: dict[str, Callable[..., None]] = {
    "id-per-worker": id_per_worker,
    "deliveries-unseen": deliveries_unseen,
    "store-first": store_first,
    "producer-reused": producer_reused,
    "losses-unseen": losses_unseen,
    "markers-lost": markers_lost,
}

if __name__ == "__main__":
    rule, _, names = sys.argv.pop(1).partition(":")
    RULES[rule](*filter(None, names.split(",")))
    bluetick.main()
