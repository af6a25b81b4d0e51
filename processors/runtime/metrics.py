"""The metrics of every processor, and those that normalise and track share."""

from collections.abc import Iterable, Mapping

from prometheus_client import Counter

from processors.runtime.lag import Lag
from providers import NAMES
from schemas.coordinates import Partition
from service.metrics.labels import UNKNOWN_PROVIDER
from service.metrics.registry import counter, gauge, many_values

partitions = gauge("bluetick_partitions_assigned")
rebalances = counter("bluetick_rebalances_total")
last_rebalance = gauge("bluetick_last_rebalance_timestamp_seconds")
_ready = gauge("bluetick_partition_ready")
_stopped = gauge("bluetick_partition_stopped")
_lag_records = gauge("bluetick_lag_records")
_lag_seconds = gauge("bluetick_lag_seconds")
_of_partitions = (_ready, _stopped, _lag_records, _lag_seconds)

commit_seconds = many_values("bluetick_commit_seconds")
dead_letters = counter("bluetick_dead_letters_total")


def note_partition(partition: Partition, *, ready: bool, stopped: bool) -> None:
    """Record whether an assigned partition is processed, or stopped."""
    topic, number = partition
    _ready.labels(topic, str(number)).set(ready and not stopped)
    _stopped.labels(topic, str(number)).set(stopped)


def note_lag(partition: Partition, lag: Lag) -> None:
    topic, number = partition
    _lag_records.labels(topic, str(number)).set(lag.records)
    _lag_seconds.labels(topic, str(number)).set(lag.seconds)


def forget(partitions_: Iterable[Partition]) -> None:
    """Remove the metrics of partitions that are no longer assigned: another process has them."""
    for topic, number in partitions_:
        for one in _of_partitions:
            one.remove(topic, str(number))


def provider_label(provider: str) -> str:
    """Return the provider as a label; another program may have written any name."""
    return provider if provider in NAMES else UNKNOWN_PROVIDER


def add(counter_: Counter, tally: Mapping[tuple[str, ...], int]) -> None:
    """Add the counts of a batch, by label values."""
    for labels, count in tally.items():
        counter_.labels(*labels).inc(count)
