"""A consumer that reads the topics while they are written."""

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.broker.reading import Read

_POLL_SECONDS = 0.2


class LiveReader:
    """Reads topics in a thread, read committed, from before the first fault to the end.

    It uses another client library than Bluetick.
    """

    def __init__(
        self, bootstrap: str, topics: Iterable[str], partitions: int, *, unread: str = ""
    ) -> None:
        """`unread`: records with this word in their key are not kept."""
        self._unread = unread.encode()
        self.records: dict[str, list[Read]] = {topic: [] for topic in topics}
        # When each of them was seen, Unix seconds.
        self.seen: dict[str, list[float]] = {topic: [] for topic in self.records}
        self._places = [
            TopicPartition(topic, number, OFFSET_BEGINNING)
            for topic in self.records
            for number in range(partitions)
        ]
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "live",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 500,
                # The default is 60 s: so long it waits for a broker that vanished.
                "socket.timeout.ms": 3000,
                "socket.connection.setup.timeout.ms": 2000,
                # Brokers go down on purpose: their errors are not logged.
                "log_level": 0,
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live reader", daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._consumer.assign(self._places)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def count(self, topic: str) -> int:
        """Return how many records of a topic it has seen; raise the error that stopped it."""
        if self._failure is not None:
            raise self._failure
        return len(self.records[topic])

    def total(self) -> int:
        """Return how many records it has seen in total."""
        return sum(map(len, self.records.values()))

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                message: Any = self._consumer.poll(_POLL_SECONDS)
                if message is not None and message.error() is None:
                    self._keep(message)
                elif message is not None and not message.error().retriable():
                    self._failure = RuntimeError(f"the live reader: {message.error()}")
        except BaseException as error:  # noqa: BLE001 - count() raises it
            self._failure = error

    def _keep(self, message: Any) -> None:
        if self._unread and self._unread in (message.key() or b""):
            return
        # First, so that each counted record has its time.
        self.seen[message.topic()].append(time.time())
        self.records[message.topic()].append(
            Read(
                message.topic(),
                message.partition(),
                message.offset(),
                (message.key() or b"").decode(),
                message.value(),
                dict(message.headers() or []),
                message.timestamp()[1],
            )
        )
