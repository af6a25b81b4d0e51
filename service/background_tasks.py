"""Background tasks: an unexpected exception is logged, and the task restarts."""

import asyncio
from collections.abc import Awaitable, Callable

from service.errors import described
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
        except Exception as error:  # noqa: BLE001 - no error may end the service
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
