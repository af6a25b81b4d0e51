"""A replay that is started from a page: its plan, and running it."""

from collections.abc import Mapping
from typing import NamedTuple

from cli.providers import providers
from cli.replay.range_options import Wanted, resolve
from console.actions.jobs import Job
from deploy import topics
from processors.replay import plan as planning
from processors.replay import run as replaying
from processors.replay.plan import Plan
from processors.replay.progress import Replay
from processors.replay.range_syntax import only_of, times_of
from processors.replay.run import Limits
from processors.runtime.offset_ranges import Window, refuse_backwards
from service.errors import Problem
from service.settings import Settings

_CATCH_UP_SECONDS = 5.0


class Planned(NamedTuple):
    """A plan, and how many records of its range are left to the normaliser."""

    plan: Plan
    left: int

    @property
    def new(self) -> int:
        return sum(facts["new"] for facts in self.plan.facts.values())


def wanted(typed: Mapping[str, str], now: int) -> Wanted:
    """Return the range that a form describes; raises `Problem` for one that is not valid."""
    given = {name: value.strip() for name, value in typed.items() if value.strip()}
    if "from" not in given:
        raise Problem("replay_without_begin")
    window = Window(*times_of(given["from"], given.get("to"), now))
    refuse_backwards(window)
    return Wanted(
        providers=tuple(providers(given.get("provider"))),
        window=window,
        offsets={},
        only=only_of(given["only"]) if "only" in given else None,
        source=given.get("source"),
        archive=None,
    )


async def plan(settings: Settings, asked: Wanted, job: Job) -> Planned:
    """Return the plan of a range; nothing is written."""
    await topics.require(settings, settings.topics.required)
    spec, left = await resolve(settings, asked)

    def show(what: str, done: int, total: int) -> None:
        job.show(done, total, f"{what} read")

    return Planned(await planning.plan(settings, spec, _CATCH_UP_SECONDS, show), left)


async def run(settings: Settings, replay: Replay, limits: Limits, job: Job) -> Replay:
    """Run a replay, or the rest of one, until it is finished or asked to stop."""
    await topics.require(settings, settings.topics.required)

    def show(at: replaying.Progress) -> None:
        words = f"offsets passed, {at.counts.observations:,} observations published"
        if at.waiting:
            words += f"; waiting for the tracker, which is {at.waiting:,} behind"
        job.show(at.passed, at.total, words)

    await replaying.run(settings, replay, limits, show, job.stop)
    return replay
