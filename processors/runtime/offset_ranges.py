"""Ranges of records, pure: offsets of a partition, and times of reception."""

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
    """What is left of the spans once those offsets are reached."""
    left = [
        span._replace(start=max(span.start, reached.get(span.place, span.start))) for span in spans
    ]
    return [span for span in left if span.start < span.end]


def refuse_backwards(window: Window) -> None:
    """Raise `Problem` for a window that ends before it begins."""
    if window.since is not None and window.until is not None and window.since >= window.until:
        raise Problem(
            f"the range begins at {to_iso(window.since)}, which is not before its end, "
            f"{to_iso(window.until)}; swap --from and --to"
        )


def refuse_empty(span: Span) -> None:
    """Raise `Problem` for a span without offsets."""
    if span.start >= span.end:
        raise Problem(
            f"the range {span.start}-{span.end} of {span.topic}[{span.partition}] is empty; it is "
            "FIRST-END, and END, the offset after the last, is greater than FIRST"
        )
