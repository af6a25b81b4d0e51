"""The metrics of this process, made from the table, and the registry that a service exposes.

A module makes each metric once, by its name in the table. A closed family has all of its children
from the start, at 0: otherwise Prometheus' `increase` misses the first event. A service exposes the
families that the table gives it, and no others.
"""

from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.registry import Collector

from service.metrics.family import Family
from service.metrics.many_values import ManyValues
from service.metrics.table import TABLE, families

disable_created_metrics()  # type: ignore[no-untyped-call]

_families = {family.name: family for family in TABLE}
_made: dict[str, Collector] = {}

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


def counter(name: str) -> Counter:
    """Make a counter of the table."""
    family = _families[name]
    return _begun(family, Counter(name, family.help, _labels(family), registry=None))


def gauge(name: str) -> Gauge:
    """Make a gauge of the table."""
    family = _families[name]
    made = Gauge(
        name, family.help, _labels(family), registry=None, multiprocess_mode=family.together
    )
    return _begun(family, made)


def histogram(name: str) -> Histogram:
    """Make a histogram of the table."""
    family = _families[name]
    made = Histogram(name, family.help, _labels(family), registry=None, buckets=family.buckets)
    return _begun(family, made)


def many_values(name: str) -> ManyValues:
    """Make a histogram of the table, without labels, to which many values are added at once."""
    family = _families[name]
    made = ManyValues(name, family.help, family.buckets)
    _made[name] = made
    return made


def exposed(service: str) -> CollectorRegistry:
    """Return the registry of a service; raises `KeyError` if a family of it is not made."""
    registry = CollectorRegistry()
    for family in families(service):
        if not family.made_by:
            registry.register(_made[family.name])
    ProcessCollector(registry=registry)
    return registry


def _labels(family: Family) -> list[str]:
    return [label.name for label in family.labels]


def _begun(family: Family, made: Metric) -> Metric:
    for values in family.children():
        made.labels(*values)
    _made[family.name] = made
    return made
