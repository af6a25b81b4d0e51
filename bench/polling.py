"""Waits for a condition by polling, with a timeout."""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.02


async def until(holds: Callable[[], bool], seconds: float) -> float:
    """Check every 20 ms until the condition holds; return the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return time.monotonic() - began
            await asyncio.sleep(POLL_SECONDS)
