"""The metrics of webhooks that Kafka has stored, counted once for each pass of the event loop.

Under load a pass takes and answers dozens of webhooks. Each takes eleven steps of the metrics, a
quarter of its CPU time, if it is counted alone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from ingest import metrics


class Tally:
    """Collects webhooks, adds them to the metrics in the next pass, and then answers them.

    So the metrics, also those of all workers together, count a webhook before its answer is sent.
    """

    def __init__(self) -> None:
        self._received: dict[str, list[int]] = defaultdict(list)
        self._stored: dict[str, list[float]] = defaultdict(list)
        self._answers: list[Callable[[], object]] = []
        self._due = False

    def receive(self, source: str, size: int) -> None:
        """Count a webhook, whose body has `size` bytes, as received; `store` or another follows."""
        self._received[source].append(size)
        self._add_soon()

    def store(self, source: str, seconds: float, answer: Callable[[], object]) -> None:
        """Count a webhook as stored on Kafka after `seconds`; then `answer` is called."""
        self._stored[source].append(seconds)
        self._answers.append(answer)
        self._add_soon()

    def _add_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._add)

    def _add(self) -> None:
        self._due = False
        for source, sizes in self._received.items():
            metrics.count_received(source, len(sizes))
            metrics.observe_sizes(sizes)
        for source, seconds in self._stored.items():
            metrics.count_stored(source, seconds)
        self._received.clear()
        self._stored.clear()
        answers, self._answers = self._answers, []
        loop = asyncio.get_running_loop()
        for answer in answers:
            loop.call_soon(answer)  # apart: a defect in one must not prevent the others
