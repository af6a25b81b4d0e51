"""The short selection of the fault suite: `python -m tests.faults` has the long ones."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.controls import CONTROLS
from tests.faults.report import noticed
from tests.faults.run import run
from tests.faults.scenarios import SCENARIOS
from tests.faults.world import World, world

SEED = 1

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A broker of our own, since it is killed too."""
    async with world(tmp_path_factory.mktemp("faults")) as one:
        yield one


@pytest.mark.parametrize(
    "name", ["kills", "zombies", "broker-crash", "markers-lost", "stores", "overtaken-track"]
)
async def test_nothing_is_lost_or_doubled(there: World, name: str) -> None:
    """Whatever is done to the services, the topics are as recomputed from the raw ones."""
    outcome = await run(there, SCENARIOS[name], SEED)
    assert not outcome.failures


async def test_wrong_clocks_raise_no_false_alarm(there: World) -> None:
    """Services under libfaketime, up to 2 h apart: all statuses, the real alarms and no others."""
    outcome = await run(there, SCENARIOS["clocks-short"], SEED)
    assert not outcome.failures


@pytest.mark.parametrize("rule", CONTROLS)
async def test_a_broken_rule_is_noticed(there: World, rule: str) -> None:
    """With a rule of the tracker broken on purpose, records are lost or doubled, and it is told."""
    outcome = await run(there, CONTROLS[rule].scenario(broken=True), SEED)
    assert noticed(outcome), outcome.failures
