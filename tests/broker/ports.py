"""Ports for brokers that are taken away and come back."""

import random

from deploy.kafka import free_port
from schemas.problem import Problem

# Below the range from which Linux gives ports to clients: one that keeps trying a port of that
# range is given that very port some time, and then the broker cannot have it back.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 50


def lasting_port() -> int:
    """A free port that no client is given while its broker is away."""
    for _ in range(_TRIES):
        try:
            return free_port(random.randint(_FIRST, _LAST))
        except Problem:
            continue
    raise Problem(f"no free port from {_FIRST} to {_LAST}; end what uses so many")
