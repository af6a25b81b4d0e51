"""The largest resident memory of each process of a trial."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults.trial import Trial

_LOOK_SECONDS = 0.25


@asynccontextmanager
async def memory_recorded(trial: Trial) -> AsyncIterator[None]:
    """Record the largest resident memory of each process within the context, in MB."""
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
                largest = max(trial.resident_mb.get(worker.name, 0), _resident(worker.pid))
                trial.resident_mb[worker.name] = largest
        await asyncio.sleep(_LOOK_SECONDS)


def _resident(pid: int) -> int:
    """Return the peak resident memory in MB: VmHWM of proc(5)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0
