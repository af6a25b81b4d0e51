"""The metrics of normalise."""

from service.metrics.labels import OTHER
from service.metrics.registry import counter, gauge

webhooks = counter("bluetick_webhooks_total")
items = counter("bluetick_items_total")
observations = counter("bluetick_observations_total")
ignored = counter("bluetick_ignored_events_total")
unread = counter("bluetick_unread_fields_total")
foreign = counter("bluetick_foreign_account_total")
stopped = gauge("bluetick_dead_letter_stopped")
failed_rounds = counter("bluetick_failed_rounds_total")

# Senders choose these words: labels must be bounded, and must not hold a phone number.
_MOST_EVENTS = 100
_events: set[str] = set()
# A source's name comes from a file, but a raw record written by hand may have any name.
_MOST_SOURCES = 1000
_sources: set[str] = set()


def event_label(event: str) -> str:
    """Return the event as a label; `other` if it has digits, or if there are too many events."""
    if any(character.isdigit() for character in event):
        return OTHER
    if event not in _events:
        if len(_events) >= _MOST_EVENTS:
            return OTHER
        _events.add(event)
    return event


def source_label(source: str) -> str:
    """Return the source's name as a label; `other` if there are too many names."""
    if source not in _sources:
        if len(_sources) >= _MOST_SOURCES:
            return OTHER
        _sources.add(source)
    return source
