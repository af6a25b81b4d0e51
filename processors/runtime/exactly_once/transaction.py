"""The transaction of one batch: outputs, changelog and the consumer's offset, all or nothing.

The order, and why: begin; send outputs and changelog; check every delivery, because aiokafka
commits in spite of a failed batch; send the offset; commit. All of it has one deadline, below the
transaction's own, and ends at once if a connection is lost. After an error the outcome is unknown:
the session is discarded, and recovery reads the committed offset.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.structs import OffsetAndMetadata

from processors.runtime import failpoints
from processors.runtime.exactly_once import metrics
from processors.runtime.exactly_once.offset_note import Note
from processors.runtime.exactly_once.outputs import Outputs
from processors.runtime.exactly_once.session import Session
from processors.runtime.metrics import commit_seconds
from processors.runtime.record_batches import Outbox
from service.kafka import clients
from service.settings import Settings


@asynccontextmanager
async def deadline(settings: Settings, session: Session[Any]) -> AsyncIterator[None]:
    """Bound a transaction by its deadline, and measure it."""
    session.refuse_loss()  # nothing is awaited between this check and the next
    began = time.monotonic()
    metrics.open_transactions[session.partition] = began
    try:
        async with clients.unbroken(session.producer, settings.transaction_timeout * 2 / 3):
            with clients.explained(session.producer):
                yield
    except BaseException:
        metrics.transactions.labels("failed").inc()
        raise
    finally:
        del metrics.open_transactions[session.partition]
    metrics.transactions.labels("committed").inc()
    metrics.transaction_seconds.add([time.monotonic() - began])


async def commit(
    session: Session[Any],
    outputs: Outputs,
    fill: Callable[[Outbox], None],
    taken_to: int | None,
    note: Note,
    *,
    apart: bool = False,
) -> dict[str, int | None]:
    """Commit a transaction; return, per topic, the offset after its last record (`Outbox.send`).

    `fill` adds the records. `taken_to` is the offset to commit with the note, None if the batch
    has no record: then the same offset is committed again, so that the note always says which
    transaction was the last. `apart` sends each record alone, to find the one that Kafka refuses.
    """
    failpoints.reach(f"{outputs.name}.before_begin")
    await session.producer.begin_transaction()
    outbox = Outbox(session.producer, f"{outputs.name}.after_first_send", apart=apart)
    fill(outbox)
    ends = await outbox.send()
    failpoints.reach(f"{outputs.name}.after_sends")
    offset = session.offset if taken_to is None else taken_to
    await session.producer.send_offsets_to_transaction(
        {session.partition: OffsetAndMetadata(offset, note.metadata)}, outputs.group
    )
    failpoints.reach(f"{outputs.name}.after_offsets")
    failpoints.pass_soon(f"{outputs.name}.during_commit")
    began = time.monotonic()
    await session.producer.commit_transaction()
    commit_seconds.add([time.monotonic() - began])
    failpoints.reach(f"{outputs.name}.after_commit")
    session.offset, session.note = offset, note
    return ends
