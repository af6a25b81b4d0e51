"""Steps on the event loop: pauses that let other tasks run, and a budget of CPU."""

import asyncio
import time

import pytest

from processors.runtime import cpu_budget
from processors.runtime.cpu_budget import Pace, Turns
from providers.pausable_work import Steps
from providers.rejection import Refused

_FOREVER = 10**9


def counted(steps: int, closed: list[bool] | None = None) -> Steps[int]:
    """Return `steps` short steps; `closed` gets an item when the work ends."""
    try:
        for _ in range(steps):
            sum(range(100))
            yield
    finally:
        if closed is not None:
            closed.append(True)
    return steps


async def test_the_result_is_returned() -> None:
    """The result is the return value of the steps."""
    assert await Pace().within(counted(1000), 60) == 1000


async def test_work_over_its_budget_is_refused() -> None:
    """The CPU time decides; the work is closed."""
    closed: list[bool] = []
    with pytest.raises(Refused, match="more than 50 ms of the processor's time") as refused:
        await Pace().within(counted(_FOREVER, closed), 0.05)
    assert refused.value.code == "too_costly"
    assert closed == [True]


async def test_the_last_step_counts_too() -> None:
    """Work that ends over its budget is refused too."""

    def one() -> Steps[None]:
        began = time.thread_time()
        while time.thread_time() - began < 0.02:
            pass
        return
        yield

    with pytest.raises(Refused):
        await Pace().within(one(), 0.01)


async def test_other_tasks_run_in_the_pauses_at_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step here is followed by a pause, in which another task spends more than the budget."""
    monkeypatch.setattr(cpu_budget, "_STRETCH_SECONDS", 0.0)
    rounds = 0

    async def other() -> None:
        nonlocal rounds
        while True:
            began = time.thread_time()
            while time.thread_time() - began < 0.01:
                pass
            rounds += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await Pace().within(counted(40), 0.3) == 40
    task.cancel()
    assert rounds >= 39


async def test_a_wait_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock alone does not decide: a machine under load refuses no body."""
    monkeypatch.setattr(time, "monotonic", iter(range(10**6)).__next__)
    assert await Pace().within(counted(1000), 1) == 1000


async def test_one_task_has_its_turn_in_an_iteration_of_the_loop() -> None:
    """Tasks that never wait for anything else work in order, each in an iteration of its own."""
    turns, worked, seen = Turns(), list[str](), set[int]()

    async def work(name: str) -> None:
        async with turns.take() as turn:
            for _ in range(3):
                worked.append(name)
                await turn.pause()

    async def watch() -> None:
        while len(worked) < 9:
            seen.add(len(worked))
            await asyncio.sleep(0)

    await asyncio.gather(watch(), work("a"), work("b"), work("c"))
    assert worked == ["a", "b", "c"] * 3
    assert seen == set(range(9))


@pytest.mark.parametrize("moment", range(6))
async def test_a_cancelled_task_gives_its_turn_away(moment: int) -> None:
    """Once, whether it works, pauses or waits."""
    turns, worked, failures = Turns(), [0, 0], list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    async def work(number: int) -> None:
        async with turns.take() as turn:
            while True:
                worked[number] += 1
                await turn.pause()

    both = [asyncio.create_task(work(number)) for number in range(2)]
    for _ in range(moment):
        await asyncio.sleep(0)
    both[0].cancel()
    await asyncio.wait([both[0]])
    before = worked[1]
    for _ in range(20):
        await asyncio.sleep(0)
    assert worked[1] > before
    both[1].cancel()
    await asyncio.wait([both[1]])
    async with turns.take():
        pass
    await asyncio.sleep(0)
    asyncio.get_running_loop().set_exception_handler(None)
    assert failures == []
