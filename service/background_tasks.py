"""Tasks that last as long as ingest: an exception that nobody foresaw ends none without a word."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

# A task that failed begins again so much later.
PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


def lasting(what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task that does `work` until it returns, and begins it again, aloud, where it raises.

    Whoever cancels the task ends it.
    """
    return asyncio.create_task(_keep(what, work), name=what)


async def _keep(what: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, ingest must go on
            told = described(error)
        else:
            return
        _log.error("%s failed (%s); it begins again in %g s", what, told, PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


def described(error: BaseException) -> str:
    """An exception in one line: its type and the way to it in the code.

    Never its text: that may be of a body, or a secret.
    """
    frames = traceback.extract_tb(error.__traceback__)
    way = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__}, {way}"
