"""All scenarios, those about workers first: importing their modules registers them."""

from tests.faults import (
    brokers,
    clocks,
    clusterfaults,
    disks,
    hostile,
    kills,
    logs,
    markers,
    network,
    registry,
    stores,
    zombies,
)

_MODULES = (
    kills,
    zombies,
    stores,
    markers,
    brokers,
    network,
    logs,
    clusterfaults,
    hostile,
    disks,
    clocks,
)
_ORDER = [one.__name__ for one in _MODULES]

SCENARIOS = dict(
    sorted(registry.SCENARIOS.items(), key=lambda named: _ORDER.index(named[1].module))
)
