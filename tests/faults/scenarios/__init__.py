"""All scenarios, those about workers first: importing their modules registers them."""

from tests.faults import scenario
from tests.faults.scenarios import (
    broker_outages,
    changed_topics,
    damaged_stores,
    full_disks,
    hostile_senders,
    killed_workers,
    lost_markers,
    network,
    three_brokers,
    upgrades,
    wrong_clocks,
    zombies,
)

_MODULES = (
    killed_workers,
    zombies,
    damaged_stores,
    lost_markers,
    broker_outages,
    network,
    changed_topics,
    three_brokers,
    hostile_senders,
    full_disks,
    wrong_clocks,
    upgrades,
)
_ORDER = [one.__name__ for one in _MODULES]

SCENARIOS = dict(
    sorted(scenario.SCENARIOS.items(), key=lambda named: _ORDER.index(named[1].module))
)
