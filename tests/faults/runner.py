"""Runs trials and returns their outcomes."""

import asyncio
import time
import traceback
from pathlib import Path
from random import Random

from tests.faults.controls import Control
from tests.faults.report import Outcome, Verdict
from tests.faults.scenario import Scenario
from tests.faults.single_broker import Environment
from tests.faults.trial import Trial, trial

_TRIAL_SECONDS = 1200.0


async def run(
    environment: Environment, scenario: Scenario, seed: int, *, limits: bool = False
) -> Outcome:
    """Run one trial of a scenario; every error in it is a failure of the trial.

    `limits`: figures over their limit are failures too.
    """
    began = time.monotonic()
    counted = next(iter(scenario.least), "")
    outcome = Outcome(scenario.name, seed, counted, 0.0)
    outcome.extra = f"--brokers {scenario.brokers} " if scenario.brokers > 1 else ""
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            await environment.repair()
            await _try(environment, scenario, outcome, limits=limits)
    except Exception as error:  # noqa: BLE001 - a trial that raised has failed
        outcome.failures.append(_explained(error))
    outcome.seconds = time.monotonic() - began
    return outcome


async def _try(
    environment: Environment, scenario: Scenario, outcome: Outcome, *, limits: bool
) -> None:
    namespace = f"t-{outcome.seed}-{environment.number()}"
    # The same seed gives each scenario other random numbers.
    random = Random(f"{scenario.name}-{outcome.seed}")
    options = {"posts": scenario.posts, "unread": scenario.unread, **scenario.settings}
    async with trial(environment, namespace, random, **options) as one:
        one.limits = limits
        try:
            await scenario.act(one)
            one.failures += scenario.missed(one)
            if not scenario.uncompared:
                one.failures += await one.finish(repeats=scenario.repeats)
        finally:
            _note(one, outcome)
            await environment.repair()


async def control(environment: Environment, one: Control, seed: int) -> Verdict:
    """Run the scenario of a control with the rule broken, and with the rule kept."""
    broken = await run(environment, one.scenario(broken=True), seed)
    kept = await run(environment, one.scenario(broken=False), seed)
    return Verdict(one.rule, broken, kept, one.named)


def _note(one: Trial, outcome: Outcome) -> None:
    outcome.did = {name: count for name, count in one.did.items() if count}
    outcome.measured = dict(one.seconds)
    outcome.affected = one.affected
    outcome.honest_traffic = one.honest_traffic
    outcome.failures += one.failures


def _explained(error: BaseException) -> str:
    """Say what ended a trial, and where in the suite."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {error}"
