"""The code of each provider that `providers/__init__.py` lists, imported by its name."""

from functools import cache
from importlib import import_module
from typing import Any

from providers.contract import Split, Usual
from providers.proof import ProviderProof
from providers.simulation import Simulator


def split(name: str) -> Split:
    """Return the function that cuts a provider's bodies into items, for the processors."""
    found: Split = import_module(f"providers.{name}.parser").split
    return found


def usual(name: str) -> Usual | None:
    """Return the reader of a provider's usual bodies, for the processors; None if it has none."""
    module = f"providers.{name}.usual_bodies"
    try:
        found: Usual = import_module(module).read
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
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
