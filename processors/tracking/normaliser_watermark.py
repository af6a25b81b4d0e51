"""The normaliser's watermark: up to when the observations hold every body that was received."""

import asyncio
import logging
import time
from collections import deque

from aiokafka.errors import KafkaError

from processors.runtime.consumer_groups import Watch, watching
from service.errors import Problem
from service.kafka.clock import clock
from service.settings import Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_ASK_SECONDS = 30.0
_KEPT = 10


class NormaliserWatermark:
    """Until when all bodies received are known to be among the observations.

    A tracker at the end of its log knows of everything only if normalise is at its own: while
    bodies wait in the raw topics, it is too early to report that a message had no receipt.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # (until when, by Kafka's clock, since when that is known); the newest last.
        self._known: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def until(self, at: float) -> int:
        """Up to when a reader at the end of the observations at `at` has read all.

        `at` is of time.monotonic(); the answer is in Unix milliseconds.
        """
        return max((until for until, since in self._known if since <= at), default=0)

    def note(self, *, until: int, since: float) -> None:
        """Note what is known since a time of time.monotonic()."""
        self._known.append((until, since))

    async def watch(self) -> None:
        """Follow the normaliser's committed offsets until cancelled."""
        while True:
            try:
                async with watching(self._settings) as watch:
                    await self._look(watch)
            except (Problem, KafkaError, TimeoutError, OSError) as error:
                log.warning("normalise's progress is not known: %s", error or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _look(self, watch: Watch) -> None:
        source = self._settings.topics.source
        now, ends = 0, None
        while True:
            async with asyncio.timeout(_ASK_SECONDS):
                if ends is None:
                    # A clock that was not compared proves of no body that it was received before.
                    now = clock.now() if clock.certain else 0
                    ends = await watch.ends(source.inputs("normalise"))
                if not await watch.behind(source.group("normalise"), ends):
                    self.note(until=now, since=time.monotonic())
                    ends = None
            await asyncio.sleep(_LOOK_SECONDS)
