"""Waiting for what can only be looked at, within bounds."""

import asyncio
import time
from collections.abc import Callable

LOOK_SECONDS = 0.02


async def until(so: Callable[[], bool], seconds: float) -> float:
    """Look every 20 ms until it is so; returns how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            if so():
                return time.monotonic() - began
            await asyncio.sleep(LOOK_SECONDS)
