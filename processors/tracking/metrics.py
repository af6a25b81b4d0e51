"""The metrics of track."""

from collections import Counter
from collections.abc import Sequence

from processors.runtime.exactly_once.metrics import store_bytes
from processors.tracking.standing import Standing
from processors.tracking.state_store import Store
from providers import NAMES
from service.metrics.labels import CHANNELS, UNKNOWN_PROVIDER
from service.metrics.registry import counter, gauge, many_values

outcomes = counter("bluetick_outcomes_total")
events = counter("bluetick_events_total")
end_to_end_seconds = many_values("bluetick_end_to_end_seconds")
_timers_due = gauge("bluetick_timers_due")
_tracked = gauge("bluetick_tracked_messages")
_stalled = gauge("bluetick_stalled_messages")

# Timers of a partition that are counted: counting takes a microsecond for each.
_MOST_TIMERS = 1000
_PROVIDERS = (*NAMES, UNKNOWN_PROVIDER)


def note_stores(stores: Sequence[Store], until: int) -> None:
    """Set the gauges of the ready stores; timers up to `until`, Unix milliseconds, are due."""
    counts: Counter[Standing] = Counter()
    for store in stores:
        counts.update(store.counts)
    for provider in _PROVIDERS:
        _tracked.labels(provider).set(counts[Standing(provider)])
        for channel in CHANNELS:
            _stalled.labels(provider, channel).set(counts[Standing(provider, channel)])
    store_bytes.set(sum(store.size for store in stores))
    _timers_due.set(sum(len(store.due(until, _MOST_TIMERS)) for store in stores))
