"""Scenarios in which a stopped worker loses its partitions and then continues."""

import asyncio

from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Worker

# Failpoints at which a worker has, or may have, a transaction open.
_POINTS = (
    "track.before_begin",
    "track.after_first_send",
    "track.after_sends",
    "track.after_offsets",
    "track.during_commit",
    "track.after_commit",
)
_OPEN = ("track.after_first_send", "track.after_sends", "track.after_offsets")
_TAKEOVERS = 4
_SHORTEST = 5
_SECONDS = 60


# The transaction timeout is longer than the stop: only fencing protects.
@scenario("zombies", {"takeovers": _TAKEOVERS}, repeats=False, transaction_timeout=60)
async def zombies(trial: Trial) -> None:
    """SIGSTOP a tracker inside a transaction, let another take over, then SIGCONT: it is fenced."""
    await trial.start("normalise")
    successor = await trial.start("track")
    for point in trial.random.sample(_POINTS, _TAKEOVERS):
        nth = trial.random.randrange(1, 30)
        zombie = await trial.start("track", ready=False, failpoint=f"{point}=stop@{nth}")
        await wake_zombie(trial, zombie, successor)
        trial.did[point] += 1
        # The next zombie's partitions go to this one.
        await successor.stop()
        successor = zombie


async def wake_zombie(trial: Trial, zombie: Worker, successor: Worker) -> None:
    """Wait until the zombie is stopped and the successor has its partitions; let it continue."""
    async with asyncio.timeout(_SECONDS):
        assert await zombie.stopped(), f"{zombie.name} ended: {zombie.tail()}"

    await trial.has_all(successor)
    await trial.published(20)
    zombie.resume()
    trial.did["takeovers"] += 1
    await trial.shared(zombie.service)
    trial.did["fenced"] += zombie.logged("fenced; waiting")


@scenario("zombie-normalise", {"takeovers": 3})
async def zombie_normalise(trial: Trial) -> None:
    """SIGSTOP a normaliser before its commit, let another take over, then SIGCONT."""
    await trial.start("track")
    successor = await trial.start("normalise")
    for _ in range(3):
        failpoint = f"normalise.before_commit=stop@{trial.random.randrange(1, 30)}"
        zombie = await trial.start("normalise", ready=False, failpoint=failpoint)
        await wake_zombie(trial, zombie, successor)
        await successor.stop()
        successor = zombie


# The transaction timeout is much shorter than the session timeout.
@scenario(
    "outlived", {"outlived": 2}, repeats=False, session_timeout=40, transaction_timeout=_SHORTEST
)
async def outlived(trial: Trial) -> None:
    """SIGSTOP the only tracker in a transaction until the broker aborts it, then SIGCONT."""
    await trial.start("normalise")
    for point in trial.random.sample(_OPEN, 2):
        failpoint = f"{point}=stop@{trial.random.randrange(1, 20)}"
        worker = await trial.start("track", slot="one", ready=False, failpoint=failpoint)
        async with asyncio.timeout(_SECONDS):
            assert await worker.stopped(), f"{worker.name} ended: {worker.tail()}"
        assert not await trial.closed(), "there is no transaction that could outlive its timeout"
        await trial.until(trial.closed, "the transaction aborted by the broker")
        worker.resume()
        trial.did["outlived"] += 1
        await trial.published(200)
        await worker.stop()
