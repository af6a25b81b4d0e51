"""Scenarios in which the network between the workers and the broker misbehaves."""

import asyncio

from tests.faults.proxy import END_TXN
from tests.faults.registry import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Worker

_HOLDS = 3
# The transaction that is held passes this point, and the next one stops there: statuses are on
# their way, and the states they belong to are not.
_NEXT = "track.after_first_send=stop@2"
_SECONDS = 60


@scenario("late-commit", {"late commits": _HOLDS}, repeats=False, partitions=1)
async def late_commit(trial: Trial) -> None:
    """Hold a commit on its way; let it go in the middle of a later transaction; kill the worker.

    This is the fault Jepsen found in Kafka's protocol: whoever asks again under the same epoch may
    have a later transaction ended by the first request. The tracker stands still with half of a
    transaction sent while the old request arrives, and dies there: that half must not appear.
    """
    await trial.start("normalise")
    for _ in range(_HOLDS):
        await late_once(trial, cut=False)


@scenario("late-commit-cut", {"late commits": _HOLDS}, repeats=False, partitions=1)
async def late_commit_cut(trial: Trial) -> None:
    """The same, and the connection of the commit that is held breaks at once."""
    await trial.start("normalise")
    for _ in range(_HOLDS):
        await late_once(trial, cut=True)


async def late_once(trial: Trial, *, cut: bool, sabotage: str | None = None) -> None:
    """Hold the first commit of a tracker; release it in the middle of its next transaction."""
    proxy = trial.world.proxy
    answer, held = proxy.hold_response(END_TXN), proxy.hold(END_TXN)
    worker = await trial.start(
        "track",
        slot="one",
        sabotage=sabotage,
        instance="one",
        kafka=proxy.bootstrap,
        failpoint=_NEXT,
    )
    async with asyncio.timeout(_SECONDS):
        await held.caught
        if cut:
            proxy.cut()
        assert await worker.stands(), f"{worker.name} ended: {worker.tail()}"
        held.release()
        await answer.caught
    answer.release()
    trial.did["late commits"] += 1
    worker.kill()
    await worker.ended()


@scenario("late-answer", {"held answers": 3}, repeats=False, partitions=1)
async def late_answer(trial: Trial) -> None:
    """Hold the answer to a commit: it has happened, and the tracker cannot know."""
    await trial.start("normalise")
    proxy = trial.world.proxy
    await trial.start("track", kafka=proxy.bootstrap)
    for _ in range(3):
        await trial.published(100)
        held = proxy.hold_response(END_TXN)
        await held.caught
        trial.did["held answers"] += 1
        await trial.published(100)
        held.release()


@scenario("slow-broker", {"slow spells": 4})
async def slow_broker(trial: Trial) -> None:
    """Let every answer take 0.2 to 2 s, now more, now less."""
    await _behind_proxy(trial)
    for _ in range(4):
        trial.world.proxy.delay(trial.random.uniform(0.2, 2))
        await trial.elapse(8)
        trial.did["slow spells"] += 1
    trial.world.proxy.delay(0)
    await trial.published(200)


@scenario("half-open", {"freezes": 3})
async def half_open(trial: Trial) -> None:
    """Let nothing pass on connections that stay open, then cut them or let them go on."""
    await _behind_proxy(trial)
    for seconds in (2, 8, 20):
        trial.world.proxy.freeze()
        await trial.elapse(seconds)
        trial.did["freezes"] += 1
        if trial.random.randrange(2):
            trial.world.proxy.cut()
        trial.world.proxy.thaw()
        await trial.published(100)


@scenario("cuts", {"cuts": 12})
async def cuts(trial: Trial) -> None:
    """Reset all connections, again and again; sometimes nobody may connect for a while."""
    await _behind_proxy(trial)
    for _ in range(12):
        await trial.published(trial.random.randrange(1, 150))
        if trial.random.randrange(3):
            trial.world.proxy.cut()
        else:
            trial.world.proxy.refuse()
            await trial.elapse(trial.random.uniform(0.5, 3))
            trial.world.proxy.accept()
        trial.did["cuts"] += 1


async def _behind_proxy(trial: Trial) -> list[Worker]:
    """Two workers of each service that reach Kafka through the proxy alone."""
    through = trial.world.proxy.bootstrap
    fleet = [await trial.start(s, kafka=through) for _ in range(2) for s in ("normalise", "track")]
    await trial.published(200)
    return fleet
