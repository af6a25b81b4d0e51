"""The page of metrics of one service, read by name and labels."""

from collections import Counter
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families


class Page:
    """The metrics of one service: each sample by its name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name for family in text_string_to_metric_families(text)}
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def sum(
        self, name: str, *, without: Mapping[str, set[str]] | None = None, **labels: str
    ) -> int:
        """Return the sum over the children with these labels, and without those values."""
        return int(
            sum(
                sample.value
                for sample in self._samples
                if sample.name == name
                and labels.items() <= sample.labels.items()
                and not any(sample.labels[key] in some for key, some in (without or {}).items())
            )
        )

    def by(self, name: str, label: str) -> Counter[str]:
        """Return the children by one label, the others added up; only those above 0."""
        found = Counter[str]()
        for sample in self._samples:
            if sample.name == name:
                found[sample.labels[label]] += int(sample.value)
        return +found

    def values(self, name: str) -> list[float]:
        return [sample.value for sample in self._samples if sample.name == name]
