"""Transactions that are open in a partition: in progress, or left open by Kafka. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from schemas.coordinates import Partition

# Kafka's default of transaction.max.timeout.ms: no transaction in progress is older.
_LONGEST_MS = 15 * 60 * 1000


class Producer(NamedTuple):
    """A transaction that the leader of a partition has as open.

    `start` is its first offset there, `written_at` the time of its last record, Unix ms.
    """

    topic: str
    partition: int
    start: int
    id: int
    epoch: int
    coordinator_epoch: int
    written_at: int


class Known(NamedTuple):
    """What the coordinator knows of a producer: its id, and the transaction in progress."""

    transactional_id: str
    state: str
    timeout_ms: int
    started_at: int
    partitions: Collection[Partition]


class Open(NamedTuple):
    """An open transaction: what the partition and the coordinator know of it.

    It is `hanging` if the coordinator has no transaction on that partition: nothing ends it.
    """

    producer: Producer
    known: Known | None
    hanging: bool


def judged(
    first: Iterable[Producer], known: Mapping[int, Known], again: Iterable[Producer], now: int
) -> list[Open]:
    """Return the open transactions, oldest first.

    `first` was read before the coordinators' answers, `known` by producer id, and `again` after
    them; `now` is Unix ms. A transaction that was open at both times, and that its coordinator did
    not have in between, is hanging: a coordinator forgets a partition only once its marker is
    written there. Without a transactional id, which this user may not be allowed to see, it must
    also be older than any transaction in progress.
    """
    still = {(one.topic, one.partition, one.id, one.start) for one in again}
    found = []
    for one in first:
        if (one.topic, one.partition, one.id, one.start) in still:
            at = known.get(one.id)
            old = now - one.written_at > _LONGEST_MS
            lost = old if at is None else (one.topic, one.partition) not in at.partitions
            found.append(Open(one, at, hanging=lost))
    return sorted(found, key=lambda open_: (open_.producer.written_at, open_.producer))
