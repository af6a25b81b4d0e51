"""Scenarios in which topics lose records or gain partitions: services must stop and say why."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Service, Worker

_SECONDS = 60
_OVERTAKEN = "is to be read from offset"


@scenario("overtaken-track", {"halts": 2}, uncompared=True)
async def overtaken_track(trial: Trial) -> None:
    """Let retention overtake a stopped tracker; it must report this and halt, but not exit."""
    await trial.start("normalise")
    await _overtaken(trial, "track")


@scenario("overtaken-normalise", {"halts": 2}, uncompared=True)
async def overtaken_normalise(trial: Trial) -> None:
    """The same for a normaliser."""
    await _overtaken(trial, "normalise")


async def _overtaken(trial: Trial, service: Service) -> None:
    worker = await trial.start(service)
    await _has_committed(trial, service, 300)
    worker.pause()
    await trial.traffic(600)
    cut = await trial.cut(service)
    worker.resume()
    for _ in range(2):
        await _halts(trial, worker)
        await worker.stop()
        worker = await trial.start(service, ready=False)
    await worker.stop()
    # It may finish the records it had read, but nothing past the gap.
    assert await trial.taken(service) < cut, f"{service} continued past the gap"


async def _halts(trial: Trial, worker: Worker) -> None:
    async def has_logged() -> bool:
        return worker.logged(_OVERTAKEN) > 0

    await trial.until(has_logged, f"{worker.name} reports the offset it cannot read")
    assert worker.running, f"{worker.name} ended: {worker.tail()}"
    assert not _defects(worker), f"{worker.name} logged a defect: {worker.tail()}"
    trial.did["halts"] += 1


@scenario("repartitioned", {"exits with a reason": 2}, uncompared=True)
async def repartitioned(trial: Trial) -> None:
    """Add a partition to `observations`: keys would move, so track must stop."""
    await trial.start("normalise")
    worker = await trial.start("track")
    await trial.published(200)
    await trial.grow("track")
    await _exits_with_reason(trial, worker, f"has {trial.settings.partitions + 1} partitions")
    worker = await trial.start("track", ready=False)
    await _exits_with_reason(trial, worker, f"has {trial.settings.partitions + 1} partitions")


def _defects(worker: Worker) -> int:
    return worker.logged("Traceback") + worker.logged("an unexpected error ended")


async def _has_committed(trial: Trial, service: Service, records: int) -> None:
    async def has() -> bool:
        return await trial.taken(service) >= records

    await trial.until(has, f"{records} records committed by {service}")


async def _exits_with_reason(trial: Trial, worker: Worker, words: str) -> None:
    """Require that the worker exits by itself with a sentence that says what to do."""
    try:
        async with asyncio.timeout(_SECONDS):
            code = await worker.ended()
    except TimeoutError:
        raise AssertionError(f"{worker.name} continues to run: {worker.tail()}") from None
    assert code == 1, f"{worker.name} ended with {code}: {worker.tail()}"
    assert worker.logged(words), f"{worker.name} did not say why: {worker.tail()}"
    assert not _defects(worker), f"{worker.name} ended by a defect: {worker.tail()}"
    trial.did["exits with a reason"] += 1
