"""Background tasks: an unexpected exception is logged, and the task restarts."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

# The pause before a failed task restarts.
PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


def lasting(what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Return a task that runs `work` until it returns; if it raises, log that and start it again.

    Cancelling the task ends it.
    """
    return asyncio.create_task(_keep(what, work), name=what)


async def _keep(what: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - no error may end the service
            failure = described(error)
        else:
            return
        _log.error("%s failed (%s); it restarts in %g s", what, failure, PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


def described(error: BaseException) -> str:
    """Return an exception as one line: its type, and the files and lines of its traceback.

    The text of the exception is left out: it may contain part of a body, or a secret.
    """
    frames = traceback.extract_tb(error.__traceback__)
    way = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__}, {way}"
