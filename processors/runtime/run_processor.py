"""Running a processor as a process: signals, health and metrics over HTTP, an orderly end."""

import asyncio
import socket
from functools import partial

from processors.runtime import failpoints
from processors.runtime.broker_probe import BrokerProbe
from processors.runtime.group_worker import GroupWorker, MakeMember
from schemas.processor_list import Processor
from service.background_tasks import lasting
from service.errors import Problem
from service.garbage_collection import collect_rarely
from service.http.server import (
    HealthServer,
    address_of,
    listen_for_health,
    logged,
    readiness,
)
from service.kafka.clock import clock, comparing
from service.kafka.failures import diagnosed, reporter, silent
from service.metrics.of_every_service import (
    clock_offset,
    count_kafka_failure,
    note_build,
    ready,
)
from service.metrics.registry import exposed
from service.setting_names import variable
from service.settings import Settings
from service.signals import stop_on_signals

_GRACE_SECONDS = 2


def run(processor: Processor, settings: Settings, make: MakeMember) -> None:
    """Run a processor until SIGTERM or SIGINT; `Problem` if it cannot continue."""
    failpoints.arm(settings.failpoint)
    setting, port = variable(processor.port_setting), settings.health_port(processor.name)
    with listen_for_health(processor.name, settings.health_host, port, setting) as listener:
        asyncio.run(_serve(processor, settings, make, listener))


async def _serve(
    processor: Processor, settings: Settings, make: MakeMember, listener: socket.socket
) -> None:
    name = processor.name
    worker = GroupWorker(processor, settings, make)
    note_build(name)
    collecting = collect_rarely()
    probe = BrokerProbe(settings.topics.needed(name), worker.existing, partial(_why, settings))

    def problems() -> list[str]:
        clocks = [clock.problem] if clock.problem else []
        # Partitions that wait for a silent broker name no reason: the broker's comes first.
        return [*clocks, *dict.fromkeys([*probe.problems(), *worker.problems()])]

    ready.set_function(lambda: float(not problems()))
    server = HealthServer(
        lambda: readiness(problems()), lambda: worker.started, exposed(name), grace=_GRACE_SECONDS
    )
    health = asyncio.create_task(server.serve(sockets=[listener]))
    probing = lasting("the broker's probe", probe.keep)
    stop = stop_on_signals()
    with logged(name, settings, health=address_of(listener)) as end:
        try:
            async with (
                reporter.reporting(settings, count_kafka_failure),
                comparing(settings, clock_offset.set),
            ):
                await worker.run(stop)
            end.reason = stop.reason
        finally:
            probing.cancel()
            collecting.cancel()
            server.should_exit = True
            await asyncio.wait([health, probing, collecting])


async def _why(settings: Settings, error: Exception) -> Problem:
    """Return why Kafka gave no answer; a further request to a silent broker would take as long."""
    if reporter.problem:
        return reporter.problem
    return silent(settings) if isinstance(error, TimeoutError) else await diagnosed(settings, error)
