"""A family of metrics as data: name, kind, unit, help, labels and the services. Pure."""

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

Together = Literal["livesum", "livemax", "livemin", "livemostrecent", "max"]
"""How a gauge of several workers of ingest is shown: prometheus_client's multiprocess modes."""


class Label(NamedTuple):
    """A label. `values` is the closed set of its values; of an open label it is empty.

    `bound` says what the values of an open label are, and what bounds them.
    """

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""


class Family(NamedTuple):
    """One metric: its name as exposed, its meaning, the services that expose it.

    `buckets` are the upper bounds of a histogram. `together` is used by gauges of ingest only.
    `made_by` names the library that makes the family, if Bluetick does not.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    together: Together = "livesum"
    made_by: str = ""
    services: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether all label values are known: then each child exists from the start."""
        return all(label.values for label in self.labels)

    def children(self) -> Iterator[tuple[str, ...]]:
        """Yield the label values of every child of a closed family with labels."""
        if self.labels and self.closed:
            yield from product(*(label.values for label in self.labels))


def counter(name: str, unit: str, help_: str, *labels: Label) -> Family:
    return Family(name, "counter", unit, help_, labels)


def gauge(
    name: str, unit: str, help_: str, *labels: Label, together: Together = "livesum"
) -> Family:
    return Family(name, "gauge", unit, help_, labels, together=together)


def histogram(
    name: str, unit: str, help_: str, *labels: Label, buckets: tuple[float, ...]
) -> Family:
    return Family(name, "histogram", unit, help_, labels, buckets)
