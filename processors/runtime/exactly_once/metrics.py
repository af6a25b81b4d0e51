"""The metrics of processors with transactions and stores."""

import time
from typing import NamedTuple

from aiokafka import TopicPartition

from service.metrics.registry import counter, gauge, many_values

transactions = counter("bluetick_transactions_total")
batch_records = many_values("bluetick_batch_records")
transaction_seconds = many_values("bluetick_transaction_seconds")
recoveries = counter("bluetick_recoveries_total")
restored = counter("bluetick_restored_states_total")
store_bytes = gauge("bluetick_store_bytes")
_transaction_age = gauge("bluetick_transaction_age_seconds")
_restore_left = gauge("bluetick_restore_left_records")
_restore_records = gauge("bluetick_restore_records")
_restore_seconds = gauge("bluetick_restore_seconds")
_of_restores = (_restore_left, _restore_records, _restore_seconds)


class _Restore(NamedTuple):
    """A restore under way: when it began, by time.monotonic(), and its records."""

    began: float
    records: int
    left: int


# When each open transaction began, by time.monotonic(), by the input whose records it takes.
open_transactions: dict[TopicPartition, float] = {}
# The restores under way, by changelog.
_restores: dict[TopicPartition, _Restore] = {}


def begin_restore(changelog: TopicPartition, records: int) -> None:
    """Record that a restore begins, with that many records to read."""
    _restores[changelog] = _Restore(time.monotonic(), records, records)
    _show(changelog.partition)


def note_restore(changelog: TopicPartition, left: int) -> None:
    """Record how many records a restore still has to read."""
    _restores[changelog] = _restores[changelog]._replace(left=left)
    _show(changelog.partition)


def end_restore(changelog: TopicPartition) -> None:
    """Record that a restore has ended, or is given up."""
    _restores.pop(changelog, None)
    _show(changelog.partition)


def forget_restore(partition: int) -> None:
    """Remove the metrics of the restores of a partition that is no longer assigned."""
    for one in _of_restores:
        one.remove(str(partition))


def sample_times() -> None:
    """Set the gauges that grow with the time."""
    now = time.monotonic()
    _transaction_age.set(max((now - began for began in open_transactions.values()), default=0))
    for partition in {changelog.partition for changelog in _restores}:
        _show(partition)


def _show(partition: int) -> None:
    """Show the restores of a partition: several stores may be restored at once."""
    under_way = [one for changelog, one in _restores.items() if changelog.partition == partition]
    began = min((one.began for one in under_way), default=None)
    seconds = 0 if began is None else time.monotonic() - began
    values = sum(one.left for one in under_way), sum(one.records for one in under_way), seconds
    for gauge_, value in zip(_of_restores, values, strict=True):
        gauge_.labels(str(partition)).set(value)
