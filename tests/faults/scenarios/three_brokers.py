"""Scenarios in which one or more of three brokers are killed, stopped or unreachable."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.http_services import in_time, start_services
from tests.faults.scenario import Act, scenario
from tests.faults.trial import Trial

_RATE = 60.0
_GROUPS = "__consumer_offsets"
_TRANSACTIONS = "__transaction_state"

ChooseBroker = Callable[[Trial], Awaitable[int]]


def _faults(name: str, number: int, *, long: bool = False) -> Callable[[Act], Act]:
    """Register a scenario with `number` faults on three brokers and the default timeouts."""
    return scenario(
        name,
        {"faults": number},
        long=long,
        brokers=3,
        posts=_RATE,
        session_timeout=30,
        timer_grace=60,
    )


async def _leader_of_messages(trial: Trial) -> int:
    return await trial.cluster.leader(trial.settings.topics.messages, 0)


async def _leader_of_raw(trial: Trial) -> int:
    return await trial.cluster.leader(trial.settings.topics.raw("whapi"), 0)


async def _transaction_coordinator(trial: Trial) -> int:
    name = trial.settings.topics.transactional_id(0)
    return await asyncio.to_thread(trial.cluster.admin.coordinator, _TRANSACTIONS, name)


async def _group_coordinator(trial: Trial) -> int:
    name = trial.settings.topics.group("track")
    return await asyncio.to_thread(trial.cluster.admin.coordinator, _GROUPS, name)


async def _controller(trial: Trial) -> int:
    return await trial.cluster.controller()


@_faults("brokers-short", 3, long=True)
async def brokers_short(trial: Trial) -> None:
    """Kill a leader, SIGSTOP a coordinator, unplug a cable: a few seconds each."""
    await start_services(trial)
    await _killed(trial, "SIGKILL of the leader of messages", _leader_of_messages, 4)
    await _frozen(trial, "SIGSTOP of the transaction coordinator", 5, _transaction_coordinator)
    await _unplugged(trial, "cable of the leader of raw out", 10, _leader_of_raw)


@_faults("leaders-killed", 2)
async def leaders_killed(trial: Trial) -> None:
    """SIGKILL the leader of `messages`, then that of a raw topic; each restarts after 12 s."""
    await start_services(trial)
    await _killed(trial, "SIGKILL of the leader of messages", _leader_of_messages, 12)
    await _killed(trial, "SIGKILL of the leader of raw", _leader_of_raw, 12)


@_faults("coordinators-killed", 3)
async def coordinators_killed(trial: Trial) -> None:
    """SIGKILL the coordinator of transactions, that of the group, and the active controller."""
    await start_services(trial)
    await _killed(trial, "SIGKILL of the transaction coordinator", _transaction_coordinator, 12)
    await _killed(trial, "SIGKILL of the group coordinator", _group_coordinator, 12)
    await _killed(trial, "SIGKILL of the active controller", _controller, 12)


@_faults("leader-and-tracker-killed", 1)
async def leader_and_tracker_killed(trial: Trial) -> None:
    """SIGKILL the leader of `messages` and a tracker at once."""
    await start_services(trial)
    tracker = trial.random.choice(trial.running("track"))
    tracker.kill()
    await _killed(trial, "SIGKILL of a leader and a tracker", _leader_of_messages, 12)
    await trial.start("track")


@_faults("two-killed", 1)
async def two_killed(trial: Trial) -> None:
    """SIGKILL two of three brokers; both are down for 30 s."""
    await start_services(trial)
    two = trial.random.sample(sorted(trial.cluster.brokers), 2)
    with trial.fault("two of three down"):
        trial.cluster.kill(*two)
        await trial.elapse(30)
        await trial.cluster.restart(*two)
    await _recovered(trial)


@_faults("all-killed", 2)
async def all_killed(trial: Trial) -> None:
    """SIGKILL all three brokers at once, twice; they are started again after 3 s."""
    await start_services(trial)
    for _ in range(2):
        all_three = list(trial.cluster.brokers)
        with trial.fault("all three killed"):
            trial.cluster.kill(*all_three)
            await trial.elapse(3)
            await trial.cluster.restart(*all_three)
        await _recovered(trial)


@_faults("one-after-another", 1)
async def one_after_another(trial: Trial) -> None:
    """SIGKILL one broker after the other, 10 s apart; each is started again at once."""
    await start_services(trial)
    with trial.fault("SIGKILL one after another"):
        for number in trial.random.sample(sorted(trial.cluster.brokers), 3):
            trial.cluster.kill(number)
            await trial.cluster.restart(number)
            await trial.elapse(10)
    await _recovered(trial)


@_faults("rolling-restart", 1)
async def rolling_restart(trial: Trial) -> None:
    """Restart each broker cleanly, when all replicas are in sync."""
    await start_services(trial)
    with trial.fault("rolling restart"):
        for number in sorted(trial.cluster.brokers):
            await trial.cluster.brokers[number].stop()
            await trial.cluster.restart(number)
            await trial.cluster.in_sync()
    await _recovered(trial)


@_faults("brokers-frozen", 4)
async def brokers_frozen(trial: Trial) -> None:
    """SIGSTOP a leader and a coordinator for 20 s, two brokers for 12 s, one for 5 s."""
    await start_services(trial)
    await _frozen(trial, "SIGSTOP of the leader of messages", 20, _leader_of_messages)
    await _frozen(trial, "SIGSTOP of the transaction coordinator", 20, _transaction_coordinator)
    await _frozen(trial, "SIGSTOP of one broker", 5, _leader_of_raw)
    two = trial.random.sample(sorted(trial.cluster.brokers), 2)
    with trial.fault("SIGSTOP of two brokers"), trial.cluster.frozen(*two):
        await trial.elapse(12)
    await _recovered(trial)


@_faults("cables-out", 4)
async def cables_out(trial: Trial) -> None:
    """Unplug the cables of a leader, both coordinators and the controller for 10 to 25 s."""
    await start_services(trial)
    await _unplugged(trial, "cable of the leader of messages out", 25, _leader_of_messages)
    await _unplugged(
        trial, "cable of the transaction coordinator out", 25, _transaction_coordinator
    )
    await _unplugged(trial, "cable of the group coordinator out", 10, _group_coordinator)
    await _unplugged(trial, "cable of the active controller out", 15, _controller)


@_faults("cable-flapping", 1)
async def cable_flapping(trial: Trial) -> None:
    """Unplug the cable of a leader for 3 s, five times."""
    await start_services(trial)
    number = await _leader_of_messages(trial)
    with trial.fault("cable of a leader flapping"):
        for _ in range(5):
            with trial.cluster.unplugged(number):
                await trial.elapse(3)
            await trial.elapse(3)
    await _recovered(trial)


@_faults("cable-out-long", 1)
async def cable_out_long(trial: Trial) -> None:
    """Unplug the cable of the leader of `messages` for 200 s."""
    await start_services(trial)
    await _unplugged(trial, "cable of the leader of messages out", 200, _leader_of_messages)


@_faults("disk-lost", 1)
async def disk_lost(trial: Trial) -> None:
    """SIGKILL a broker, remove all its data, restart it: it copies everything from the others."""
    await start_services(trial)
    number = await _leader_of_messages(trial)
    with trial.fault("a broker that lost its disk"):
        trial.cluster.kill(number)
        trial.cluster.brokers[number].lose_disk()
        await trial.elapse(3)
        await trial.cluster.restart(number)
    await _recovered(trial)


async def _killed(trial: Trial, name: str, choose: ChooseBroker, seconds: float) -> None:
    number = await choose(trial)
    with trial.fault(name):
        trial.cluster.kill(number)
        await trial.elapse(seconds)
        await trial.cluster.restart(number)
    await _recovered(trial)


async def _frozen(trial: Trial, name: str, seconds: float, choose: ChooseBroker) -> None:
    number = await choose(trial)
    with trial.fault(name), trial.cluster.frozen(number):
        await trial.elapse(seconds)
    await _recovered(trial)


async def _unplugged(trial: Trial, name: str, seconds: float, choose: ChooseBroker) -> None:
    number = await choose(trial)
    with trial.fault(name), trial.cluster.unplugged(number):
        await trial.elapse(seconds)
    await _recovered(trial)


async def _recovered(trial: Trial) -> None:
    """Wait until statuses are in time and all replicas in sync."""
    await in_time(trial)
    await trial.cluster.in_sync()
