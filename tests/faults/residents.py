"""How much memory the processes of a trial hold, at most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults.trial import Trial

_LOOK_SECONDS = 0.25


@asynccontextmanager
async def watched(trial: Trial) -> AsyncIterator[None]:
    """Note the largest resident memory of each process meanwhile, in MB."""
    task = asyncio.create_task(_watch(trial))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _watch(trial: Trial) -> None:
    while True:
        for worker in trial.workers:
            if worker.running:
                largest = max(trial.resident.get(worker.name, 0), _resident(worker.pid))
                trial.resident[worker.name] = largest
        await asyncio.sleep(_LOOK_SECONDS)


def _resident(pid: int) -> int:
    """VmHWM, the largest it ever was: proc(5)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0
