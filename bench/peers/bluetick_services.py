"""Bluetick's own services as subjects: the real commands, with the settings of a run."""

import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bluetick
from bench.peers.drain import Place
from bench.peers.processes import Program, Value
from deploy import topics
from deploy.local_kafka.broker import free_port
from schemas.processor_list import PROCESSORS
from service.settings import Settings

_COMMAND = str(Path(bluetick.__file__).resolve())
_GIVEN = (
    *("kafka", "namespace", "raw_namespace", "observations_namespace", "partitions"),
    *("stalled_queued", "stalled_sent"),
)
_NO_ALARM = 30 * 86_400.0
NO_MORE: Mapping[str, Value] = {}


@asynccontextmanager
async def namespace(place: Place, **given: Any) -> AsyncIterator[Settings]:
    """Create the topics of a namespace; the context deletes them. No message is ever stalled."""
    name = f"bench-{secrets.token_hex(4)}"
    settings = Settings(
        kafka=place.broker.address,
        namespace=name,
        data=place.directory / name,
        stalled_queued=_NO_ALARM,
        stalled_sent=_NO_ALARM,
        **given,
    )
    await topics.apply(settings)
    try:
        yield settings
    finally:
        await topics.drop(settings)


def service(
    settings: Settings, name: str, number: int = 0, more: Mapping[str, Value] = NO_MORE
) -> Program:
    """Return a service with ports of its own; `number` tells apart those of one name."""
    given: dict[str, Value] = {
        f"BLUETICK_{field.upper()}": value
        for field in _GIVEN
        if (value := getattr(settings, field)) is not None
    }
    for processor in PROCESSORS:
        given[f"BLUETICK_{processor.port_setting.upper()}"] = free_port(0)
    given["BLUETICK_DATA"] = settings.data / f"{name}-{number}"
    given["BLUETICK_LOG_FORMAT"] = "console"
    return Program([sys.executable, _COMMAND, name], {**given, **more})
