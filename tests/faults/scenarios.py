"""All scenarios, those about workers first: importing their modules registers them."""

from tests.faults import brokers, clocks, kills, logs, markers, network, registry, stores, zombies

_ORDER = [one.__name__ for one in (kills, zombies, stores, markers, brokers, network, logs, clocks)]

SCENARIOS = dict(
    sorted(registry.SCENARIOS.items(), key=lambda named: _ORDER.index(named[1].act.__module__))
)
