"""A service loads the parts of a provider that it uses, and no others."""

import subprocess
import sys

import pytest

from providers import NAMES
from tests import HOME

_PARTS = "import {0}, sys; print(*(name for name in sys.modules if name.startswith('providers.')))"


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("service.settings", set[str]()),
        ("ingest.server", {"proof"}),
        ("processors.normalising.normaliser", {"parser"}),
        ("cli.simulator.simulate", set[str]()),
    ],
)
def test_a_service_loads_only_its_parts(module: str, loaded: set[str]) -> None:
    """Ingest starts without the models of the parsers, the processors without simulators."""
    command = [sys.executable, "-c", _PARTS.format(module)]
    printed = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True).stdout
    parts = {
        part
        for name in NAMES
        for part in ("parser", "proof", "simulator")
        if f"providers.{name}.{part}" in printed.split()
    }
    assert parts == loaded
