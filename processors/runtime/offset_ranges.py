"""Ranges of records: offsets of a partition, and times of reception. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.errors import Problem


class Range(NamedTuple):
    """Offsets `start` to before `end`."""

    start: int
    end: int


class Span(NamedTuple):
    """Offsets `start` to before `end` of one partition."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def place(self) -> Partition:
        return self.topic, self.partition

    @property
    def offsets(self) -> Range:
        return Range(self.start, self.end)


class Window(NamedTuple):
    """Times of reception, Unix milliseconds, from `since` to before `until`; None: no bound."""

    since: int | None = None
    until: int | None = None

    def holds(self, timestamp: int) -> bool:
        after = self.since is None or self.since <= timestamp
        return after and (self.until is None or timestamp < self.until)


def remaining(spans: Iterable[Span], reached: Mapping[Partition, int]) -> list[Span]:
    """Return the parts of the spans from the reached offsets on."""
    left = [
        span._replace(start=max(span.start, reached.get(span.place, span.start))) for span in spans
    ]
    return [span for span in left if span.start < span.end]


def refuse_backwards(window: Window) -> None:
    """Raise `Problem` for a window that ends before it begins."""
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise Problem("range_backwards", since=to_iso(window.since), until=to_iso(window.until))


def refuse_empty(span: Span) -> None:
    """Raise `Problem` for a span without offsets."""
    if span.start >= span.end:
        raise Problem(
            "range_empty",
            topic=span.topic,
            partition=span.partition,
            start=span.start,
            end=span.end,
        )
