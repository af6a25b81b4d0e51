"""A histogram to which the values of a whole batch are added at once.

prometheus_client takes about two microseconds for each value: too long for each of some thousand
observations of a batch.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class ManyValues(Collector):
    """A histogram without labels; it belongs to one thread."""

    def __init__(self, name: str, help_: str, bounds: Sequence[float]) -> None:
        """`bounds` are the upper bounds of the buckets, increasing, without infinity."""
        self._name = name
        self._help = help_
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, values: Iterable[float]) -> None:
        ordered = sorted(values)
        ends = [0, *(bisect_right(ordered, bound) for bound in self._bounds), len(ordered)]
        for index, (start, end) in enumerate(pairwise(ends)):
            self._counts[index] += end - start
        self._sum += sum(ordered)

    def collect(self) -> Iterator[Metric]:
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((_text(bound), float(total)))
        yield HistogramMetricFamily(self._name, self._help, buckets=buckets, sum_value=self._sum)


def _text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)
