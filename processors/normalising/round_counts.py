"""The counts of one round of normalise, for the metrics."""

from collections import Counter

from processors.normalising import metrics
from processors.runtime.metrics import add, dead_letters
from processors.runtime.record_batches import Outgoing
from providers.contract import Normalised
from schemas.codec import decode_observation
from schemas.records import Observation, StatusObservation, home_key


class Tallies:
    """The counts of one round, published once it is committed: a repeated round counts once."""

    def __init__(self) -> None:
        # Counts that every body has are listed, and added up at the end: that is faster.
        self._webhooks: list[tuple[str, ...]] = []
        self._observations: list[tuple[str, ...]] = []
        self._large: Counter[tuple[str, ...]] = Counter()
        self._items: Counter[tuple[str, ...]] = Counter()
        self._dead_letters: Counter[tuple[str, ...]] = Counter()
        self._ignored: Counter[tuple[str, ...]] = Counter()
        self._unread: Counter[tuple[str, ...]] = Counter()

    def count(self, provider: str, result: Normalised) -> None:
        self._webhooks.append((provider,))
        self._items[(provider,)] += result.items
        for observation in result.observations:
            self._observations.append((provider, _seen(observation)))
            for name in observation.unread:
                self._unread[provider, name] += 1
        for letter in result.dead_letters:
            self._dead_letters[provider, letter.code] += 1
        for event, count in result.ignored.items():
            self._ignored[provider, metrics.event_label(event)] += count

    def count_large(self, provider: str, record: Outgoing, *, first: bool) -> None:
        """Count an observation that is too large for its topic, of a body that is counted already.

        It is not published. All such observations of a body are one item, which is a dead letter;
        `first` is True for the first of them.
        """
        observation = decode_observation(record.value)
        if (record.key or b"").decode() == home_key(observation):
            self._large[provider, _seen(observation)] += 1
            self._items[(provider,)] -= 1
        if first:
            self._items[(provider,)] += 1
            self._dead_letters[provider, "too_large"] += 1

    def publish(self) -> None:
        observations = Counter(self._observations)
        observations.subtract(self._large)
        add(metrics.webhooks, Counter(self._webhooks))
        add(metrics.items, self._items)
        add(metrics.observations, observations)
        add(dead_letters, self._dead_letters)
        add(metrics.ignored, self._ignored)
        add(metrics.unread, self._unread)


def _seen(observation: Observation) -> str:
    return observation.status if isinstance(observation, StatusObservation) else "inbound"
