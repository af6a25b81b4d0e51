"""Starts a worker that breaks one rule: `python -m tests.faults.sabotage <rule> <service>`.

The fault suite must notice each rule (tests.faults.controls). Product code has no switches for
this: patches break the rule in this process only. `markers-lost:<topic>,...` breaks no rule: it
makes Kafka lose markers, which Kafka may do at any time, and which must lose no data.
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
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.record_batches import Outbox
from processors.tracking import split_transactions
from processors.tracking.incomplete_transactions import Committed
from processors.tracking.partition_task import Task
from processors.tracking.session import Session
from processors.tracking.split_transactions import Split
from providers import NAMES
from schemas.topics import Topics
from service.kafka import clients
from service.settings import Settings

_PATIENCE_SECONDS = 60
_LOOK_SECONDS = 0.01
_FOREVER = 2**63 - 1


def id_per_worker() -> None:
    """Give every worker transactional ids of its own: the earlier owner is not fenced."""

    def transactional_id(topics: Topics, partition: int) -> str:
        return f"{topics.namespace}.track.{os.getpid()}.{partition}"

    _patch(Topics, "transactional_id", transactional_id)


def deliveries_unseen() -> None:
    """Commit without checking the deliveries of the batches."""

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
    """Write the states to the store, and to the disk, before they are committed."""
    publish = Task._publish

    async def write_and_publish(task: Task, session: Session, work: Any, result: Any) -> Any:
        session.store.write(result.states, None, result.armed, result.spent)
        session.store._db.flush()
        return await publish(task, session, work, result)

    _patch(Task, "_publish", write_and_publish)


def producer_reused() -> None:
    """Keep the same producer after an error, and continue from the committed offsets.

    It does not wait for open transactions: the broker would abort them meanwhile and refuse the
    producer, so that the tracker would exit with an error and lose nothing.
    """
    kept: dict[str, AIOKafkaProducer] = {}
    make, read, abandon = clients.producer, clients.reader, clients.abandon

    def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
        if transactional_id is None:
            return make(settings)
        if transactional_id not in kept:
            # A producer that is never replaced needs time for its retries.
            patient = settings.model_copy(update={"transaction_timeout": _PATIENCE_SECONDS})
            kept[transactional_id] = make(patient, transactional_id)
            return kept[transactional_id]
        return _again(kept[transactional_id])

    def reader(settings: Settings, _: str = "") -> AIOKafkaConsumer:
        return read(settings)  # reads only committed records: no transaction appears open

    async def keep(client: AIOKafkaProducer) -> None:
        if client not in kept.values():
            await abandon(client)

    _patch(clients, "producer", producer)
    _patch(clients, "reader", reader)
    _patch(clients, "abandon", keep)
    _patch(clients, "_REQUEST_SECONDS", _PATIENCE_SECONDS)


def losses_unseen() -> None:
    """Ignore that aiokafka repeats requests on a new connection.

    The repair of split transactions, which would mend the result, is left out too.
    """

    def none(*_: object) -> int:
        return 0

    async def unrepaired(
        _: Settings, __: TopicPartition, at: int, note: Note, ___: int, **____: object
    ) -> Split:
        return Split(at, note)

    async def complete(_: Settings, __: TopicPartition, at: int, note: Note) -> Committed:
        return Committed(at, note, since=_FOREVER)

    _patch(clients, "losses", none)
    _patch(clients._Losses, "__call__", none)
    _patch(split_transactions, "find", unrepaired)
    _patch(split_transactions, "committed", complete)


def markers_lost(*names: str) -> None:
    """Do not register these topics, or `offsets`, with the transaction of the kill.

    So Kafka ends the transaction without a marker there; it must not verify transactions. One other
    partition is registered first: Kafka accepts it only after the earlier transaction has ended.
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
            partition = TopicPartition(Topics(namespace, providers=NAMES).dead_letters, 0)
            add_partition(manager, partition)
            while partition not in manager.txn_partitions:  # noqa: ASYNC110 - aiokafka has no event
                await asyncio.sleep(_LOOK_SECONDS)

    def maybe_add_partition_to_txn(manager: Any, partition: Any) -> None:
        if last() and partition.topic.rpartition(".")[2] in names:
            manager._txn_partitions.add(partition)
        add_partition(manager, partition)

    def add_offsets_to_txn(manager: Any, offsets: Any, group: str) -> Any:
        if last() and "offsets" in names:
            manager.consumer_group_added(group)
        return add_offsets(manager, offsets, group)

    _patch(AIOKafkaProducer, "begin_transaction", begin_transaction)
    _patch(TransactionManager, "maybe_add_partition_to_txn", maybe_add_partition_to_txn)
    _patch(TransactionManager, "add_offsets_to_txn", add_offsets_to_txn)


def _again(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """Return the producer patched to begin a transaction when the last one has ended.

    A transaction that is still open is aborted, because nothing else would end it.
    """
    begin: Any = AIOKafkaProducer.begin_transaction
    manager: Any = producer._txn_manager

    async def start() -> None:
        pass

    async def begin_transaction() -> None:
        if manager.state in (TransactionState.IN_TRANSACTION, TransactionState.ABORTABLE_ERROR):
            await producer.abort_transaction()
        # Shielded: a caller that is cancelled here may call again.
        await asyncio.shield(manager.wait_for_transaction_end())
        await begin(producer)

    _patch(producer, "start", start)
    _patch(producer, "begin_transaction", begin_transaction)
    return producer


def _patch(owner: object, name: str, value: object) -> None:
    assert hasattr(owner, name), f"{name}, which this patches, does not exist any more"
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
