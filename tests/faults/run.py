"""Runs trials and says how each went."""

import asyncio
import time
import traceback
from pathlib import Path
from random import Random

from tests.faults.controls import Control
from tests.faults.registry import Scenario
from tests.faults.report import Outcome, Verdict
from tests.faults.trial import Trial, trial
from tests.faults.world import Environment

_TRIAL_SECONDS = 1200.0


async def run(world: Environment, scenario: Scenario, seed: int, *, bars: bool = False) -> Outcome:
    """One trial of a scenario; whatever goes wrong in it is its failure.

    `bars`: so are figures over a bar.
    """
    began = time.monotonic()
    counted = next(iter(scenario.least), "")
    outcome = Outcome(scenario.name, seed, counted, 0.0)
    outcome.extra = f"--brokers {scenario.brokers} " if scenario.brokers > 1 else ""
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            await world.mend()
            await _try(world, scenario, outcome, bars=bars)
    except Exception as error:  # noqa: BLE001 - a trial that broke is no pass
        outcome.failures.append(_explained(error))
    outcome.seconds = time.monotonic() - began
    return outcome


async def _try(world: Environment, scenario: Scenario, outcome: Outcome, *, bars: bool) -> None:
    namespace = f"t-{outcome.seed}-{world.number()}"
    # Every scenario draws differently from the same seed.
    random = Random(f"{scenario.name}-{outcome.seed}")
    options = {"posts": scenario.posts, "unread": scenario.unread, **scenario.settings}
    async with trial(world, namespace, random, **options) as one:
        one.bars = bars
        try:
            await scenario.act(one)
            one.failures += scenario.missed(one)
            if not scenario.loud:
                one.failures += await one.finish(repeats=scenario.repeats)
        finally:
            _note(one, outcome)
            await world.mend()


async def control(world: Environment, one: Control, seed: int) -> Verdict:
    """The same scenario with the rule broken and with it kept."""
    broken = await run(world, one.scenario(broken=True), seed)
    kept = await run(world, one.scenario(broken=False), seed)
    return Verdict(one.rule, broken, kept, one.named)


def _note(one: Trial, outcome: Outcome) -> None:
    outcome.did = {name: count for name, count in one.did.items() if count}
    outcome.measured = dict(one.seconds)
    outcome.affected = one.affected
    outcome.beside = one.beside
    outcome.failures += one.failures


def _explained(error: BaseException) -> str:
    """Say what ended a trial, and where in the suite."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {error}"
