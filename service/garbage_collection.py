"""Python's garbage collector in processes that handle many records.

Records make no reference cycles, and a collection visits all objects that are alive: those of a
backlog take 0.2 s, in which nothing else runs, and which would count as the CPU time of one
message. So nothing is collected automatically. A task collects when few objects are alive, and
when so many were made, and not freed, that they may be garbage.
"""

import asyncio
import gc
import time

from service.background_tasks import lasting

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 60.0
# A collection visits one to two million objects in a second.
_FEW = 50_000
_MANY = 150_000


def stop_collecting() -> None:
    """Collect nothing automatically, and never the objects made so far."""
    gc.collect()
    gc.freeze()
    gc.disable()


def collect_rarely() -> asyncio.Task[None]:
    """Collect only in the returned task, and never the objects made so far."""
    stop_collecting()
    return lasting("the collection of garbage", _collect)


async def _collect() -> None:
    looked = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        if gc.get_count()[0] > _MANY:  # made, and not freed, since the last collection
            gc.collect(0)
        elif now - looked >= _PAUSE_SECONDS:
            looked = now
            if len(gc.get_objects()) < _FEW:
                gc.collect()
