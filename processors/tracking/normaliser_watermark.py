"""The time up to which all received bodies are known to be normalised.

A tracker at the end of its log has all observations only if normalise has read all raw bodies.
While bodies wait in the raw topics, a message may have a report that is not read yet.
"""

import asyncio
import time
from collections import deque

from aiokafka.errors import KafkaError

from processors.runtime.alarms import Alarms
from processors.runtime.consumer_groups import Watch, watching
from schemas.processor_list import NORMALISE
from service.errors import Problem
from service.kafka.causes import RIGHT_CAUSES
from service.kafka.clock import clock
from service.kafka.failures import reporter, right_missing
from service.log_events import notice
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_CHECK_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_ASK_SECONDS = 30.0
_KEPT = 10


class NormaliserWatermark:
    """Compares the offsets of normalise with the ends of the raw topics, every second."""

    def __init__(self, settings: Settings, alarms: Alarms) -> None:
        self._settings = settings
        self._alarms = alarms
        # (the time up to which all is normalised, by Kafka's clock; since when it is known).
        self._known: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def until(self, at: float) -> int:
        """Return the time up to which a reader at the end of the observations has every report.

        The reader was at the end at `at`, of time.monotonic(); the result is Unix milliseconds.
        """
        return max((until for until, since in self._known if since <= at), default=0)

    def note(self, *, until: int, since: float) -> None:
        """Record a time, and since when it is known (time.monotonic())."""
        self._known.append((until, since))

    async def watch(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                async with watching(self._settings) as watch:
                    await self._compare(watch)
            except (Problem, KafkaError, TimeoutError, OSError) as error:
                self._report(error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _report(self, error: Exception) -> None:
        """Log why the comparison failed; health shows a right that is missing."""
        denied = _denied(self._settings, error)
        if denied is None:
            log.warning("progress_unknown", reason=error)
            return
        reporter.refused(denied)
        now, lasts = time.monotonic(), 2 * _RETRY_SECONDS + _ASK_SECONDS
        unknown = notice("progress_unknown", reason=str(denied), code=denied.code)
        self._alarms.raise_("watermark", unknown, now, lasts)

    async def _compare(self, watch: Watch) -> None:
        source = self._settings.topics.source
        now, ends = 0, None
        while True:
            async with asyncio.timeout(_ASK_SECONDS):
                if ends is None:
                    # Without a compared clock, no reception time is certain.
                    now = clock.now() if clock.certain else 0
                    ends = await watch.ends(source.inputs(NORMALISE.name))
                if not await watch.behind(source.group(NORMALISE.name), ends):
                    self.note(until=now, since=time.monotonic())
                    ends = None
            await asyncio.sleep(_CHECK_SECONDS)


def _denied(settings: Settings, error: Exception) -> Problem | None:
    """Return the problem of a missing right, which may be the error itself."""
    if isinstance(error, Problem):
        return error if error.code in RIGHT_CAUSES else None
    return right_missing(settings, error)
