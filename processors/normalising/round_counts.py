"""The counts of one round of normalise, for the metrics."""

from collections import Counter

from processors.runtime import metrics
from providers.contract import Normalised
from providers.rejection import Code
from schemas.records import StatusObservation


class Tallies:
    """The counts of one round, published once it is committed: a repeated round counts once."""

    def __init__(self) -> None:
        # Counts that every body has are listed, and added up at the end: that is faster.
        self._webhooks: list[tuple[str, ...]] = []
        self._observations: list[tuple[str, ...]] = []
        self._dead_letters: Counter[tuple[str, ...]] = Counter()
        self._ignored: Counter[tuple[str, ...]] = Counter()
        self._unread: Counter[tuple[str, ...]] = Counter()

    def count(self, provider: str, result: Normalised) -> None:
        self._webhooks.append((provider,))
        for observation in result.observations:
            seen = observation.status if isinstance(observation, StatusObservation) else "inbound"
            self._observations.append((provider, seen))
            for name in observation.unread:
                self._unread[provider, name] += 1
        for letter in result.dead_letters:
            self._dead_letters[provider, letter.code] += 1
        for event, count in result.ignored.items():
            self._ignored[provider, metrics.event_label(event)] += count

    def count_letter(self, provider: str, code: Code) -> None:
        """Count a later dead letter of a body that is counted already."""
        self._dead_letters[provider, code] += 1

    def publish(self) -> None:
        metrics.add(metrics.webhooks, Counter(self._webhooks))
        metrics.add(metrics.observations, Counter(self._observations))
        metrics.add(metrics.dead_letters, self._dead_letters)
        metrics.add(metrics.ignored, self._ignored)
        metrics.add(metrics.unread, self._unread)
