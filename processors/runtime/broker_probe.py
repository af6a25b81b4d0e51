"""Whether Kafka answers and has the topics, asked in the background so that health answers at once.

A broker that is silent takes seconds to be noticed; a probe of an orchestrator waits for one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from service.errors import Problem

# Seconds: the time limit of one request, and the pause after an answer, after a failure.
ANSWER_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
_FAILED_SECONDS = 0.2

Ask = Callable[[Collection[str]], Awaitable[Collection[str]]]
"""Asks a broker which of some topics exist."""

Explain = Callable[[Exception], Awaitable[Problem]]
"""Returns the reason for the error of a request."""


class BrokerProbe:
    """The last answer of the broker about the topics of a processor."""

    def __init__(self, needed: Collection[str], ask: Ask, explain: Explain) -> None:
        self._needed = needed
        self._ask = ask
        self._explain = explain
        self._problems = ["Kafka has not answered yet"]

    def problems(self) -> list[str]:
        """Return one sentence for each problem of the last answer, without waiting."""
        return self._problems

    async def keep(self) -> None:
        """Ask repeatedly until cancelled."""
        while True:
            self._problems = await self._look()
            await asyncio.sleep(_FAILED_SECONDS if self._problems else _PAUSE_SECONDS)

    async def _look(self) -> list[str]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                existing = await self._ask(self._needed)
        except Exception as error:  # noqa: BLE001 - after any error the broker did not answer
            return [str(await self._explain(error))]
        missing = [topic for topic in self._needed if topic not in existing]
        return [str(Problem("needed_topic_missing", topic=topic)) for topic in missing]
