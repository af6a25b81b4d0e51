"""Print a line for each of Bluetick's statuses as they arrive: a consumer to copy.

It needs only aiokafka. A real service does its work where this one prints. The work must be safe to
repeat: after a crash before the commit, the last batch is read again.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from itertools import chain

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

Record = ConsumerRecord[bytes, bytes]

BATCH = 500
POLL_MS = 500
WINDOW = 100_000


class StatusesError(Exception):
    """An error that ends the program, in one sentence."""


class Window:
    """A bounded number of the latest ids.

    Needed only if processing a record twice does harm. Bluetick publishes each fact once, but a
    processed record whose commit failed is read again. This window covers one process. To be safe
    across restarts too, store `ce_id` with the effect, with a unique index.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        self._ids[id_] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)


class CommitBeforeRebalance(ConsumerRebalanceListener):
    """Before partitions move to another member, waits until the current batch is committed."""

    def __init__(self, busy: asyncio.Lock) -> None:
        self._busy = busy

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002
        async with self._busy:
            pass

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass


def read(record: Record) -> tuple[str, str]:
    """Return the fact's id, and a line: key, status, verdict, time, and `live` or `replay`.

    It reads only the fields that it needs and passes unknown values on: new ones will be added.
    """
    try:
        status = json.loads(record.value or b"")
        time = status.get("occurred_at")
        line = "\t".join(
            (
                status["message_key"],
                status["status"],
                status["verdict"],
                "-" if time is None else iso(time),
                "live" if status.get("replay") is None else "replay",
            )
        )
        return dict(record.headers)["ce_id"].decode(), line
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        place = f"{record.topic}[{record.partition}] offset {record.offset}"
        raise StatusesError(f"{place} is not a status ({error!r}); find out who wrote it") from None


def iso(time: int) -> str:
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def begin(consumer: AIOKafkaConsumer, partition: TopicPartition, since: int | None) -> None:
    """Set the start position of a group without an offset: a time, or else the start."""
    if since is None:
        await consumer.seek_to_beginning(partition)
        return
    end = (await consumer.end_offsets([partition]))[partition]  # first: no gap between calls
    found = (await consumer.offsets_for_times({partition: since}))[partition]
    consumer.seek(partition, found.offset if found else end)


async def follow(consumer: AIOKafkaConsumer, topic: str, since: int | None) -> None:
    """Process batches until SIGTERM or Ctrl-C; the current batch is finished and committed."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if topic not in await consumer.topics():
        raise StatusesError(f"the topic {topic} does not exist; is the namespace right?")
    busy = asyncio.Lock()
    consumer.subscribe([topic], listener=CommitBeforeRebalance(busy))
    window = Window(WINDOW)
    while not stopping.is_set():
        try:
            batch = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
        except NoOffsetForPartitionError as error:
            await begin(consumer, error.args[0], since)
            continue
        async with busy:
            for record in chain.from_iterable(batch.values()):
                id_, line = read(record)
                if id_ not in window:
                    print(line)
                    window.add(id_)
            sys.stdout.flush()  # before the commit
            if batch:
                await commit(consumer)


async def commit(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.commit()
    except CommitFailedError:
        print("the group has removed this member; the batch is read again", file=sys.stderr)


async def run(bootstrap: str, namespace: str, group: str, since: int | None) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        isolation_level="read_committed",  # the default also returns aborted records
        enable_auto_commit=False,  # the default commits unprocessed records
        auto_offset_reset="none",  # the default, latest, skips records before the first start
    )
    try:
        await consumer.start()
        await follow(consumer, f"{namespace}.statuses", since)
    except OffsetOutOfRangeError:
        raise StatusesError(
            f"the group {group} is at an offset of the topic that was deleted; "
            "move its offsets by hand to accept the gap"
        ) from None
    except KafkaError as error:
        raise StatusesError(f"Kafka at {bootstrap}: {error!r}; is it running?") from None
    finally:
        await consumer.stop()


def milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return round(moment.timestamp() * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print Bluetick's statuses as they arrive.")
    parser.add_argument("bootstrap", help="Kafka's bootstrap address, host:port")
    parser.add_argument("namespace", help="the prefix of the topics, usually bluetick")
    parser.add_argument("--group", required=True, help="the consumer group")
    parser.add_argument(
        "--since",
        type=milliseconds,
        help="start time of a new group, as 2026-11-22T04:12:05Z; default: the start of the log",
    )
    given = parser.parse_args()
    try:
        asyncio.run(run(given.bootstrap, given.namespace, given.group, given.since))
    except StatusesError as error:
        sys.exit(f"statuses: {error}")


if __name__ == "__main__":
    main()
