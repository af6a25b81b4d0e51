"""The metrics of track."""

import time
from collections import Counter
from collections.abc import Sequence

from processors.tracking.standing import Standing
from processors.tracking.state_store import Store
from providers import NAMES
from service.metrics.labels import CHANNELS, UNKNOWN_PROVIDER
from service.metrics.registry import counter, gauge, many_values

outcomes = counter("bluetick_outcomes_total")
events = counter("bluetick_events_total")
transactions = counter("bluetick_transactions_total")
batch_records = many_values("bluetick_batch_records")
transaction_seconds = many_values("bluetick_transaction_seconds")
end_to_end_seconds = many_values("bluetick_end_to_end_seconds")
recoveries = counter("bluetick_recoveries_total")
restored = counter("bluetick_restored_states_total")
_timers_due = gauge("bluetick_timers_due")
_store_bytes = gauge("bluetick_store_bytes")
_transaction_age = gauge("bluetick_transaction_age_seconds")
_restore_left = gauge("bluetick_restore_left_records")
_restore_records = gauge("bluetick_restore_records")
_restore_seconds = gauge("bluetick_restore_seconds")
_tracked = gauge("bluetick_tracked_messages")
_stalled = gauge("bluetick_stalled_messages")

# Timers of a partition that are counted: counting takes a microsecond for each.
_MOST_TIMERS = 1000
_PROVIDERS = (*NAMES, UNKNOWN_PROVIDER)

# When each open transaction, and each restore under way, began, by time.monotonic().
open_transactions: dict[int, float] = {}
_restores: dict[int, float] = {}


def begin_restore(partition: int, records: int) -> None:
    """Record that a restore begins, with that many records to read."""
    _restores[partition] = time.monotonic()
    _restore_records.labels(str(partition)).set(records)
    note_restore(partition, records)


def note_restore(partition: int, left: int) -> None:
    """Record how many records a restore still has to read."""
    _restore_left.labels(str(partition)).set(left)


def end_restore(partition: int) -> None:
    """Record that a restore has ended, or is given up."""
    _restores.pop(partition, None)
    for one in (_restore_left, _restore_records, _restore_seconds):
        one.labels(str(partition)).set(0)


def forget_restore(partition: int) -> None:
    """Remove the metrics of the restore of a partition that is no longer assigned."""
    for one in (_restore_left, _restore_records, _restore_seconds):
        one.remove(str(partition))


def note_stores(stores: Sequence[Store], until: int) -> None:
    """Set the gauges of the ready stores; timers up to `until`, Unix milliseconds, are due."""
    counts: Counter[Standing] = Counter()
    for store in stores:
        counts.update(store.counts)
    for provider in _PROVIDERS:
        _tracked.labels(provider).set(counts[Standing(provider)])
        for channel in CHANNELS:
            _stalled.labels(provider, channel).set(counts[Standing(provider, channel)])
    _store_bytes.set(sum(store.size for store in stores))
    _timers_due.set(sum(len(store.due(until, _MOST_TIMERS)) for store in stores))


def sample_times() -> None:
    """Set the gauges that grow with the time."""
    now = time.monotonic()
    _transaction_age.set(max((now - began for began in open_transactions.values()), default=0))
    for partition, began in _restores.items():
        _restore_seconds.labels(str(partition)).set(now - began)
