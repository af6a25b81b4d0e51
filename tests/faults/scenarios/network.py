"""Scenarios with faults of the network between the workers and the broker."""

import asyncio

from tests.faults.proxy import END_TXN
from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Worker

_HOLDS = 3
# The transaction of the held commit passes this point, and the next one stops there: it has sent
# statuses, and not yet the states.
_NEXT = "track.after_first_send=stop@2"
_SECONDS = 60


@scenario("late-commit", {"late commits": _HOLDS}, repeats=False, partitions=1)
async def late_commit(trial: Trial) -> None:
    """Hold a commit, release it in the middle of a later transaction, kill the worker.

    This is the fault Jepsen found in Kafka's protocol: if a producer repeats a request in the same
    epoch, the first request may end a later transaction. The tracker has sent half of a transaction
    when the old request arrives, and is killed there: that half must not be committed.
    """
    await trial.start("normalise")
    for _ in range(_HOLDS):
        await late_once(trial, cut=False)


@scenario("late-commit-cut", {"late commits": _HOLDS}, repeats=False, partitions=1)
async def late_commit_cut(trial: Trial) -> None:
    """The same, and the connection of the held commit breaks at once."""
    await trial.start("normalise")
    for _ in range(_HOLDS):
        await late_once(trial, cut=True)


async def late_once(trial: Trial, *, cut: bool, sabotage: str | None = None) -> None:
    """Hold the first commit of a tracker; release it in the middle of its next transaction."""
    proxy = trial.single.proxy
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
        assert await worker.stopped(), f"{worker.name} ended: {worker.tail()}"
        held.release()
        await answer.caught
    answer.release()
    trial.did["late commits"] += 1
    worker.kill()
    await worker.ended()


@scenario("late-answer", {"held answers": 3}, repeats=False, partitions=1)
async def late_answer(trial: Trial) -> None:
    """Hold the answer to a commit: Kafka has committed, and the tracker cannot know."""
    await trial.start("normalise")
    proxy = trial.single.proxy
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
    """Delay every answer by 0.2 to 2 s, with a new delay every 8 s."""
    await _behind_proxy(trial)
    for _ in range(4):
        trial.single.proxy.delay(trial.random.uniform(0.2, 2))
        await trial.elapse(8)
        trial.did["slow spells"] += 1
    trial.single.proxy.delay(0)
    await trial.published(200)


@scenario("half-open", {"freezes": 3})
async def half_open(trial: Trial) -> None:
    """Pass nothing on connections that stay open, then cut or continue them."""
    await _behind_proxy(trial)
    for seconds in (2, 8, 20):
        trial.single.proxy.freeze()
        await trial.elapse(seconds)
        trial.did["freezes"] += 1
        if trial.random.randrange(2):
            trial.single.proxy.cut()
        trial.single.proxy.thaw()
        await trial.published(100)


@scenario("cuts", {"cuts": 12})
async def cuts(trial: Trial) -> None:
    """Reset all connections repeatedly; sometimes refuse new ones for a while."""
    await _behind_proxy(trial)
    for _ in range(12):
        await trial.published(trial.random.randrange(1, 150))
        if trial.random.randrange(3):
            trial.single.proxy.cut()
        else:
            trial.single.proxy.refuse()
            await trial.elapse(trial.random.uniform(0.5, 3))
            trial.single.proxy.accept()
        trial.did["cuts"] += 1


async def _behind_proxy(trial: Trial) -> list[Worker]:
    """Start two workers of each service that reach Kafka only through the proxy."""
    through = trial.single.proxy.bootstrap
    fleet = [await trial.start(s, kafka=through) for _ in range(2) for s in ("normalise", "track")]
    await trial.published(200)
    return fleet
