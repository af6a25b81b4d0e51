"""Print a line for each of Bluetick's statuses as they arrive: a consumer to copy, on librdkafka.

It needs only confluent-kafka. The settings are those of every client on librdkafka (.NET, Node.js,
PHP, C++, Rust). A real service does its work where this one prints. The work must be safe to
repeat: after a crash before the commit, the last batch is read again.
"""

import argparse
import json
import signal
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

BATCH = 500
POLL_SECONDS = 0.5
ANSWER_SECONDS = 10
WINDOW = 100_000
# The group went on without this member; the batch is read again.
REMOVED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}


class StatusesError(Exception):
    """An error that ends the program, in one sentence."""


class Window:
    """A bounded number of the latest ids.

    Needed only if processing a record twice does harm: a processed record whose commit failed is
    read again. To be safe across restarts too, store `ce_id` with the effect, with a unique index.
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


def read(message: Message) -> tuple[str, str]:
    """Return the fact's id, and a line: key, status, verdict, time, and `live` or `replay`.

    It reads only the fields that it needs and passes unknown values on: new ones will be added.
    """
    try:
        status = json.loads(message.value() or b"")
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
        headers: dict[str, Any] = dict(message.headers() or ())
        return headers["ce_id"].decode(), line
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        place = f"{message.topic()}[{message.partition()}] offset {message.offset()}"
        raise StatusesError(f"{place} is not a status ({error!r}); find out who wrote it") from None


def iso(time: int) -> str:
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Statuses:
    """A member of the group that follows the topic."""

    def __init__(self, consumer: Consumer, topic: str, since: int | None) -> None:
        self._consumer = consumer
        self._topic = topic
        self._since = since
        self._window = Window(WINDOW)
        self.stopping = False

    def follow(self) -> None:
        """Process batches until it is stopped; the current batch is finished and committed."""
        found = self._consumer.list_topics(self._topic, timeout=ANSWER_SECONDS)
        if found.topics[self._topic].error is not None:
            raise StatusesError(f"the topic {self._topic} does not exist; is the namespace right?")
        self._consumer.subscribe([self._topic], on_assign=self._begin)
        while not self.stopping:
            # Partitions move to other members inside this call only: the batch is committed then.
            if batch := self._consumer.consume(BATCH, POLL_SECONDS):
                self._process(batch)

    def _begin(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Begin at the group's offsets; without one at a time, or else at the start."""
        begins = consumer.committed(assigned, timeout=ANSWER_SECONDS)
        new = [one for one in begins if one.offset < 0]
        for one in new:
            one.offset = OFFSET_BEGINNING if self._since is None else self._since
        if new and self._since is not None:
            found = consumer.offsets_for_times(new, timeout=ANSWER_SECONDS)
            begins = [one for one in begins if one not in new] + found
        consumer.assign(begins)

    def _process(self, batch: list[Message]) -> None:
        for message in batch:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            id_, line = read(message)
            if id_ not in self._window:
                print(line)
                self._window.add(id_)
        sys.stdout.flush()  # before the commit
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in REMOVED:
                raise
            print("the group has removed this member; the batch is read again", file=sys.stderr)


def run(bootstrap: str, namespace: str, group: str, since: int | None) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",  # librdkafka's default
            "enable.auto.commit": False,  # the default commits unprocessed records
            "auto.offset.reset": "error",  # the default, latest, skips records
            "socket.timeout.ms": 10_000,  # the default waits a minute for a broker that vanished
        }
    )
    statuses = Statuses(consumer, f"{namespace}.statuses", since)

    def stop(*_: Any) -> None:
        statuses.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        statuses.follow()
    except KafkaException as failed:
        error = failed.args[0]
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
            raise StatusesError(
                f"the group {group} is at an offset of the topic that was deleted; "
                "move its offsets by hand to accept the gap"
            ) from None
        raise StatusesError(f"Kafka at {bootstrap}: {error.str()}; is it running?") from None
    finally:
        consumer.close()


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
        run(given.bootstrap, given.namespace, given.group, given.since)
    except StatusesError as error:
        sys.exit(f"statuses: {error}")


if __name__ == "__main__":
    main()
