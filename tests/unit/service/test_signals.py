"""How a process stops on a signal."""

import asyncio
import os
import signal

import pytest

from service.signals import run_until_signal, stop_on_signals, stopping

_NUMBERS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@_NUMBERS
async def test_a_signal_sets_the_event_and_is_the_reason(number: signal.Signals) -> None:
    """Before a signal the reason is that the process ended by itself."""
    stop = stop_on_signals()
    assert (stop.is_set(), stop.reason) == (False, "it ended by itself")
    os.kill(os.getpid(), number)
    await asyncio.wait_for(stop.wait(), 30)
    assert stop.reason == number.name


@_NUMBERS
async def test_the_second_signal_cancels(number: signal.Signals) -> None:
    """The first one sets the event, so that the work can end cleanly."""
    stop, asked = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with stopping(stop):
            await stop.wait()
            asked.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(asked.wait(), 30)
    os.kill(os.getpid(), number)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert not asyncio.get_running_loop().remove_signal_handler(number), "the handler is left"


@_NUMBERS
def test_work_is_cancelled_by_a_signal(number: signal.Signals) -> None:
    """Its cleanup runs first."""
    ended: list[str] = []

    async def work() -> int:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("in order")
        return 0

    assert run_until_signal(work()) is None
    assert ended == ["in order"]


def test_work_that_ends_by_itself_has_its_own_code() -> None:
    """No signal, no other code."""

    async def work() -> int:
        return 3

    assert run_until_signal(work()) == 3
