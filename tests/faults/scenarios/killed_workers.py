"""Scenarios that end workers: at every failpoint, in bursts, at random, and by SIGTERM."""

import asyncio
import contextlib
import time
from itertools import cycle
from random import Random

from processors.runtime import failpoints
from tests.faults.scenario import scenario
from tests.faults.trial import Trial
from tests.faults.workers import Service, Worker

POINTS = [point for point in failpoints.POINTS if point.startswith(("track.", "normalise."))]
# After so long a worker that has not reached its failpoint is killed where it is.
_REACHED_SECONDS = 25
_RESTORE = "track.during_restore"
# The points of the services; tests/broker/test_replay.py kills replays.
_POINTS = [point for point in POINTS if not point.startswith("replay.")]
_ONCE = ("track.after_fencing", _RESTORE, "track.during_revoke")
_NORMALISE_ROUNDS = 2
_BURST = 30


@scenario("undisturbed", {}, repeats=False)
async def undisturbed(trial: Trial) -> None:
    """No fault: normalise repeats nothing, and the topics are exactly as the oracle expects.

    The same must hold in every scenario, except that normalise may repeat itself. Observations and
    dead letters are those of the raw topics. Each status, event and inbound message is published
    once, in order and as expected, for a live reader and for a later one. The states are right, ids
    are unique, no transaction hangs, and every worker exits with 0 on SIGTERM.
    """
    await trial.start("normalise")
    await trial.start("track")
    await trial.traffic(3000)


@scenario("kills", {"kills": len(_POINTS)})
async def kills(trial: Trial) -> None:
    """SIGKILL at every failpoint, with two workers of each service; each is restarted at once.

    Some restart as the same member (static membership), some as new members. Messages past their
    time to live arrive while trackers are still being killed.
    """
    await trial.start("normalise")
    points = {s: [p for p in _POINTS if p.startswith(s)] for s in ("track", "normalise")}
    normalise = points["normalise"] * _NORMALISE_ROUNDS
    track = points["track"]
    trial.random.shuffle(normalise)
    trial.random.shuffle(track)
    # It comes late, when there are states to restore: points are taken from the end.
    track.remove(_RESTORE)
    track.insert(trial.random.randrange(len(track) // 2), _RESTORE)

    async def normalisers() -> None:
        await asyncio.gather(
            *(_kill_at_points(trial, "normalise", slot, normalise) for slot in (1, 2))
        )
        await trial.shared("normalise")
        await trial.age()

    trackers = (_kill_at_points(trial, "track", slot, track) for slot in (1, 2))
    await asyncio.gather(normalisers(), *trackers)


async def _kill_at_points(trial: Trial, service: Service, slot: int, points: list[str]) -> None:
    """Start one worker after another; each is killed at one of the remaining points."""
    while points:
        point = points.pop()
        name = f"{service}-{slot}" if trial.random.random() < 0.6 else None
        nth = 1 if point in _ONCE else round(2 ** trial.random.uniform(0, 5))
        worker = await trial.start(
            service,
            ready=False,
            # A store that lags has states to restore.
            slot=None if point == _RESTORE else f"{service}-{slot}",
            instance=name,
            failpoint=f"{point}=kill@{nth}",
        )
        if point == "track.during_revoke":
            await _lose_partitions(trial, worker)
        await _end(trial, worker, point)


async def _lose_partitions(trial: Trial, worker: Worker) -> None:
    """Start and stop another tracker, so that the group revokes the worker's partitions."""

    async def working() -> bool:
        return not worker.running or await worker.partitions() > 0

    await trial.until(working, f"{worker.name} working")
    other = await trial.start("track", ready=False)
    await _ended(worker)
    await other.stop()


async def _end(trial: Trial, worker: Worker, point: str) -> None:
    """Wait until the worker is killed at its point; else kill it."""
    await _ended(worker)
    trial.did["kills"] += not worker.running
    trial.did[point if not worker.running else "kills elsewhere"] += 1
    worker.kill()
    await worker.ended()


async def _ended(worker: Worker) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REACHED_SECONDS):
            await worker.ended()


@scenario("bursts", {"kills": _BURST})
async def bursts(trial: Trial) -> None:
    """SIGKILL random workers 30 times, 0.1 to 1 s apart; each is restarted at once."""
    fleet = [await trial.start(s, slot=f"{s}-{n}") for n in (1, 2) for s in _SERVICES]
    await trial.published(200)
    for _ in range(_BURST):
        await asyncio.sleep(trial.random.uniform(0.1, 1))
        number = trial.random.randrange(len(fleet))
        victim = fleet[number]
        victim.kill()
        await victim.ended()
        trial.did["kills"] += 1
        slot = f"{victim.service}-{number // 2 + 1}"
        name = slot if trial.random.randrange(2) else None
        fleet[number] = await trial.start(victim.service, ready=False, slot=slot, instance=name)


@scenario("random-kills", {"kills": 8})
async def random_kills(trial: Trial) -> None:
    """SIGKILL a random worker and wait until statuses are published again: 8 times."""
    fleet = [await trial.start(s, slot=f"{s}-{n}") for n in (1, 2) for s in _SERVICES]
    for _ in range(8):
        await trial.published(trial.random.randrange(1, 300))
        number = trial.random.randrange(len(fleet))
        victim = fleet[number]
        victim.kill()
        await victim.ended()
        trial.did["kills"] += 1
        slot = f"{victim.service}-{number // 2 + 1}"
        fleet[number] = await trial.start(victim.service, ready=False, slot=slot)


@scenario("sigterm", {"orderly ends": 6})
async def sigterm(trial: Trial) -> None:
    """SIGTERM in the middle of a batch: the worker commits or aborts it, and exits with 0.

    It is stopped at a failpoint while the signal arrives.
    """
    await trial.start("normalise")
    points = [p for p in _POINTS if p not in _ONCE and p != "track.during_commit"]
    for point in trial.random.sample(points, 6):
        service: Service = "track" if point.startswith("track") else "normalise"
        nth = trial.random.randrange(1, 20)
        slot = f"{service}-1"
        worker = await trial.start(service, ready=False, slot=slot, failpoint=f"{point}=stop@{nth}")
        if not await worker.stopped():
            continue
        code = await worker.stop()
        assert code == 0, f"at {point} {worker.trouble or f'it ended with {code}'}"
        trial.did["orderly ends"] += 1
        trial.did[point] += 1


@scenario("handover", {"takeovers": 3, "returns": 3}, repeats=False)
async def handover(trial: Trial) -> None:
    """Kill one of two trackers; measure the time until its partitions are assigned again.

    Once the other tracker takes over, once the same one restarts with its instance name.
    """
    await trial.start("normalise")
    survivor = await trial.start("track", instance="survivor")
    for _ in range(3):
        other = await trial.start("track", slot="other", instance="other")
        await trial.shared("track")
        other.kill()
        began = time.monotonic()
        await other.ended()
        other = await trial.start("track", slot="other", instance="other")
        await trial.shared("track")
        trial.seconds["back under its name"].append(time.monotonic() - began)
        trial.did["returns"] += 1
        other.kill()
        began = time.monotonic()
        await trial.has_all(survivor)
        trial.seconds["taken over"].append(time.monotonic() - began)
        trial.did["takeovers"] += 1


@scenario("joins", {"joins": 6, "leaves": 6})
async def joins(trial: Trial) -> None:
    """One worker of each service becomes four and one again, by SIGTERM or SIGKILL."""
    for service in _SERVICES:
        await trial.start(service)
    for _ in range(3):
        for service in _SERVICES:
            await trial.start(service)
            trial.did["joins"] += 1
        await trial.published(trial.random.randrange(1, 200))
    for service in cycle(_SERVICES):
        there = trial.running(service)
        if len(there) == 1:
            break
        await _leaves(trial.random, trial.random.choice(there))
        trial.did["leaves"] += 1
        await trial.published(trial.random.randrange(1, 100))


async def _leaves(random: Random, worker: Worker) -> None:
    if random.randrange(2):
        worker.kill()
        await worker.ended()
    else:
        await worker.stop()


_SERVICES: tuple[Service, ...] = ("normalise", "track")
