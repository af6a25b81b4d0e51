"""Background tasks of ingest: an unexpected exception is logged, and the task restarts."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from service.logger import logger

# The pause before a failed task restarts.
PAUSE_SECONDS = 1.0

_log = logger(__name__)


def lasting(what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Return a task that runs `work` until it returns; if it raises, log that and start it again.

    Cancelling the task ends it.
    """
    return asyncio.create_task(_keep(what, work), name=what)


async def _keep(what: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - no error may end ingest
            _log.error(
                "task_failed",
                task=what,
                error=described(error),
                seconds=PAUSE_SECONDS,
                exc_info=error,
            )
        else:
            return
        await asyncio.sleep(PAUSE_SECONDS)


def described(error: BaseException) -> str:
    """Return an exception as one line: its type, and the files and lines of its traceback.

    The text of the exception is left out: it may contain part of a body, or a secret.
    """
    return f"{type(error).__name__}, {' > '.join(frames(error))}"


def frames(error: BaseException) -> list[str]:
    """Return file and line of each call of a traceback."""
    calls = traceback.extract_tb(error.__traceback__)
    return [f"{Path(call.filename).name}:{call.lineno}" for call in calls]
