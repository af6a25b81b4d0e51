"""A short selection of the fault suite; `python -m tests.faults` runs all of it."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.controls import CONTROLS
from tests.faults.report import noticed
from tests.faults.runner import run
from tests.faults.scenarios import SCENARIOS
from tests.faults.single_broker import SingleBroker, single_broker

SEED = 1

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SingleBroker]:
    """A broker of its own, because scenarios kill it."""
    async with single_broker(tmp_path_factory.mktemp("faults")) as one:
        yield one


@pytest.mark.parametrize(
    "name", ["kills", "zombies", "broker-crash", "markers-lost", "stores", "overtaken-track"]
)
async def test_nothing_is_lost_or_doubled(environment: SingleBroker, name: str) -> None:
    """With faults of the services, the topics are as the oracle expects."""
    outcome = await run(environment, SCENARIOS[name], SEED)
    assert not outcome.failures


async def test_wrong_clocks_raise_no_false_alarm(environment: SingleBroker) -> None:
    """With clocks up to 2 h apart all statuses and alarms are right."""
    outcome = await run(environment, SCENARIOS["clocks-short"], SEED)
    assert not outcome.failures


@pytest.mark.parametrize("rule", CONTROLS)
async def test_a_broken_rule_is_noticed(environment: SingleBroker, rule: str) -> None:
    """With a rule of the tracker broken, the suite reports lost or doubled records."""
    outcome = await run(environment, CONTROLS[rule].scenario(broken=True), SEED)
    assert noticed(outcome), outcome.failures
