"""Keeping the services of `up` running: each that ends by itself is started again."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from cli.problem_sentences import CommandProblem
from cli.processes import Running, Show, start, until_ready
from cli.up.restarts import QUICK_SECONDS, after
from service.errors import Problem
from service.settings import Settings

Say = Callable[[str], None]


async def keep_running(
    settings: Settings, services: list[Running], place: int, show: Show, say: Say
) -> Problem:
    """Start one of the services again whenever it ends; return the `Problem` to give up with.

    The new process takes its place in the list.
    """
    quick_runs, began = 0, time.monotonic()
    while True:
        ended = services[place]
        await ended.wait()
        quick_runs, pause = after(quick_runs, time.monotonic() - began)
        if pause is None:
            return _given_up(ended, quick_runs)
        name = ended.service.name
        say(f"{name} ended: {ended.reason}; it is started again in {pause:g} s")
        await asyncio.sleep(pause)
        began = time.monotonic()
        services[place] = await start(settings, ended.service, show)
        with suppress(Problem):  # that it ended, or is not ready yet: the next end is seen above
            await until_ready(settings, [services[place]], say)
            say(f"{name} is ready again")


def _given_up(ended: Running, times: int) -> Problem:
    return CommandProblem(
        "service_keeps_ending",
        "{service} ended {times} times in a row within {seconds:g} s of its start; "
        "the last time: {why}",
        service=ended.service.name,
        times=times,
        seconds=QUICK_SECONDS,
        why=ended.reason,
    )
