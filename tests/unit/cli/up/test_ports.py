"""The ports of `bluetick up`: services on one machine need different ones."""

from typing import Any

import pytest

from cli.up.up import _ports
from deploy.local_kafka.broker import free_port
from schemas.processor_list import PROCESSORS
from service.errors import Problem
from service.settings import Settings


def test_ports_that_collide_are_refused() -> None:
    """Two services with one port are named by their settings, before anything starts."""
    port = free_port(0)
    health: dict[str, Any] = {"normalise_health_port": port, "track_health_port": port}
    given = Settings(port=free_port(0), **health)
    with pytest.raises(Problem) as refused:
        _ports(given)
    assert str(refused.value) == (
        f"BLUETICK_NORMALISE_HEALTH_PORT and BLUETICK_TRACK_HEALTH_PORT are both {port} on one "
        "address; give each a port of its own"
    )


def test_any_free_ports_differ() -> None:
    """Port 0 is any free one for each service."""
    zero: dict[str, Any] = dict.fromkeys(
        ("port", "ingest_metrics_port", *(one.port_setting for one in PROCESSORS)), 0
    )
    zero |= dict.fromkeys(("console_port", "console_health_port"), 0)
    assert len({*_ports(Settings(**zero)).values()}) == len(zero)
