"""The code of each provider that `providers/__init__.py` lists, imported by its name."""

from functools import cache
from importlib import import_module
from typing import Any

from providers.contract import Split
from providers.proof import ProviderProof
from providers.simulation import Simulator


def split(name: str) -> Split:
    """Return the function that cuts a provider's bodies into items, for the processors."""
    found: Split = import_module(f"providers.{name}.parser").split
    return found


@cache
def proof(name: str) -> ProviderProof:
    """Return how a provider sends and authenticates its webhooks, for ingest."""
    found: ProviderProof = import_module(f"providers.{name}.proof").PROOF
    return found


def simulator(name: str) -> Simulator[Any, Any]:
    """Return the simulator of a provider, for the command line."""
    found: Simulator[Any, Any] = import_module(f"providers.{name}.simulator").SIMULATOR
    return found
