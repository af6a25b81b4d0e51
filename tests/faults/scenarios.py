"""All scenarios: importing their modules registers them."""

from tests.faults import brokers, kills, logs, network, stores, zombies
from tests.faults.registry import SCENARIOS

__all__ = ["SCENARIOS", "brokers", "kills", "logs", "network", "stores", "zombies"]
