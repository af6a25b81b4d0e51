"""Runs trials and returns their outcomes."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from deploy import topics
from service.settings import Settings
from tests.faults.controls import Control
from tests.faults.http_load import HttpLoad
from tests.faults.kafka_load import KafkaLoad
from tests.faults.live_reader import LiveReader
from tests.faults.report import Outcome, Verdict
from tests.faults.scenario import Scenario
from tests.faults.single_broker import Environment
from tests.faults.trial import Trial
from tests.oracle.compare import OUTPUTS

_TRIAL_SECONDS = 1200.0
_PARTITIONS = 4
_RATE = 250.0  # bodies a second


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
    async with _trial(environment, namespace, random, **options) as one:
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


@asynccontextmanager
async def _trial(
    environment: Environment,
    namespace: str,
    random: Random,
    *,
    posts: float | None = None,
    unread: str = "",
    **settings: Any,
) -> AsyncIterator[Trial]:
    """Create a trial's topics and start its traffic; the context ends everything.

    `posts`: posts by HTTP a second, once an ingest runs; None: the load is written to Kafka.
    `unread`: the live reader keeps only statuses without this word in their key.
    """
    options = {"partitions": _PARTITIONS, "session_timeout": 6, "timer_grace": 5} | settings
    home = environment.home / namespace
    home.mkdir(parents=True)
    given = Settings(kafka=environment.bootstrap, namespace=namespace, **options)
    await topics.apply(given)
    names = [f"{namespace}.{topic}" for topic in OUTPUTS] + [given.topics.messages]
    if unread:
        names = [given.topics.statuses]
    with LiveReader(given.kafka, names, given.partitions, unread=unread) as live:
        load = HttpLoad(random, posts) if posts else KafkaLoad(given, random, _RATE)
        trial = Trial(environment, given, home, random, live, load)
        try:
            yield trial
        finally:
            await trial.close()
    if not trial.failures:  # else the topics are evidence
        await topics.drop(given)
