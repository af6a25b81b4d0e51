"""Scenarios in which the logs themselves change: the services must stop aloud, and skip nothing."""

import asyncio

from tests.faults.registry import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Service, Worker

_SECONDS = 60
_OVERTAKEN = "was to be read from offset"


@scenario("overtaken-track", {"halts": 2}, loud=True)
async def overtaken_track(trial: Trial) -> None:
    """Let retention overtake a tracker that stands still; it must say so, halt and not end."""
    await trial.start("normalise")
    await _overtaken(trial, "track")


@scenario("overtaken-normalise", {"halts": 2}, loud=True)
async def overtaken_normalise(trial: Trial) -> None:
    """The same for a normaliser."""
    await _overtaken(trial, "normalise")


async def _overtaken(trial: Trial, service: Service) -> None:
    worker = await trial.start(service)
    await _has_taken(trial, service, 300)
    worker.pause()
    await trial.traffic(600)
    cut = await trial.cut(service)
    worker.resume()
    for _ in range(2):
        await _halts(trial, worker)
        await worker.stop()
        worker = await trial.start(service, ready=False)
    await worker.stop()
    # What it still had in its hands may be done; past the gap there is nothing.
    assert await trial.taken(service) < cut, f"{service} went on past the gap"


async def _halts(trial: Trial, worker: Worker) -> None:
    async def says() -> bool:
        return worker.said(_OVERTAKEN) > 0

    await trial.until(says, f"{worker.name} says what it was to read")
    assert worker.running, f"{worker.name} ended: {worker.tail()}"
    assert not worker.said("Traceback"), f"{worker.name} met a traceback: {worker.tail()}"
    trial.did["halts"] += 1


@scenario("repartitioned", {"loud ends": 2}, loud=True)
async def repartitioned(trial: Trial) -> None:
    """Give the observations another partition under way: keys would move, so track must stop."""
    await trial.start("normalise")
    worker = await trial.start("track")
    await trial.published(200)
    await trial.grow("track")
    await _ends_aloud(trial, worker, f"has {trial.settings.partitions + 1} partitions")
    worker = await trial.start("track", ready=False)
    await _ends_aloud(trial, worker, f"has {trial.settings.partitions + 1} partitions")


async def _has_taken(trial: Trial, service: Service, records: int) -> None:
    async def has() -> bool:
        return await trial.taken(service) >= records

    await trial.until(has, f"{records} records taken by {service}")


async def _ends_aloud(trial: Trial, worker: Worker, words: str) -> None:
    """The worker must end by itself, with one sentence that a person can act upon."""
    try:
        async with asyncio.timeout(_SECONDS):
            code = await worker.ended()
    except TimeoutError:
        raise AssertionError(f"{worker.name} goes on as if nothing were: {worker.tail()}") from None
    assert code == 1, f"{worker.name} ended with {code}: {worker.tail()}"
    assert worker.said(words), f"{worker.name} did not say why: {worker.tail()}"
    assert not worker.said("Traceback"), f"{worker.name} ended in a traceback: {worker.tail()}"
    trial.did["loud ends"] += 1
