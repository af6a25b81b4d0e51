"""The parts of a provider by its name: the one place where a name becomes code."""

from functools import cache
from importlib import import_module
from typing import Any

from providers.contract import Split
from providers.proof import ProviderProof
from providers.simulation import Simulator


def split(name: str) -> Split:
    """How a provider's bodies are cut into items: what the processors import of it."""
    found: Split = import_module(f"providers.{name}.parser").split
    return found


@cache
def proof(name: str) -> ProviderProof:
    """How a provider sends and proves itself: what ingest imports of it."""
    found: ProviderProof = import_module(f"providers.{name}.proof").PROOF
    return found


def simulator(name: str) -> Simulator[Any, Any]:
    """How a provider's traffic is simulated: for the command line."""
    found: Simulator[Any, Any] = import_module(f"providers.{name}.simulator").SIMULATOR
    return found
