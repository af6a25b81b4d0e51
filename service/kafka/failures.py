"""Why Kafka cannot be used: one problem for command line, log, health and metric.

A failed request or connection does not say why, so a connection of its own (probe.py) finds out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import collect_hosts

from schemas.rights import operations
from service.errors import Problem
from service.kafka.access import Access
from service.kafka.causes import (
    CONNECTION_CAUSES,
    DOUBTFUL,
    Refused,
    connection_failed,
    label,
    refused_right,
)
from service.kafka.login import options
from service.kafka.probe import Address, probe
from service.kafka.service_name import service_name
from service.logger import logger
from service.settings import Settings

log = logger(__name__)

_PROBE_SECONDS = 1.5
_AGAIN_SECONDS = 0.2
_SILENT = CONNECTION_CAUSES[0]

Count = Callable[[str], None]
"""Counts a failure; the argument is the label `cause`."""


async def diagnosed(
    settings: Settings, error: BaseException | None = None, seconds: float = _PROBE_SECONDS
) -> Problem:
    """Return why Kafka cannot be used, after this error; may take `seconds` for each broker."""
    why = type(error).__name__ if error else "TimeoutError"
    unknown = Problem("kafka_request_failed", kafka=settings.kafka, why=why)
    return await cause_of(settings, error, seconds) or unknown


async def cause_of(
    settings: Settings, error: BaseException | None, seconds: float = _PROBE_SECONDS
) -> Problem | None:
    """Return why Kafka cannot be used, as `diagnosed`; None if another connection can use it."""
    if problem := right_missing(settings, error):
        return problem
    addresses = [(host, port) for host, port, _ in collect_hosts(settings.kafka, randomize=False)]
    return await _first(addresses, options(settings), settings.access, seconds)


def silent(settings: Settings) -> Problem:
    """Return the problem of a Kafka that accepts connections and does not answer in time."""
    return Problem(_SILENT, where=f"{settings.kafka} (BLUETICK_KAFKA)", why="TimeoutError")


def right_missing(settings: Settings, error: BaseException | None) -> Problem | None:
    """Return which right the error says is missing; None if it is another error."""
    refused = refused_right(error) if error is not None else None
    if refused is None:
        return None
    return lacking(settings, refused)


def lacking(settings: Settings, refused: Refused, *needed: str) -> Problem:
    """Return the problem of a right that is missing; `needed` are the operations, if known."""
    access = settings.access
    known = operations(service_name(), settings.topics, refused.resource, refused.names)
    return Problem(
        refused.code,
        user=access.user,
        principal=access.principal,
        names=list(refused.names),
        operations=list(needed or known),
    )


async def _first(
    addresses: list[Address], chosen: Mapping[str, Any], access: Access, seconds: float
) -> Problem | None:
    """Return the first failure of the bootstrap addresses, else of the brokers they name.

    A bootstrap address that works makes the others unimportant.
    """
    failed: list[Problem] = []
    for address in addresses:
        problem, brokers = await _examined(address, chosen, access, seconds)
        if problem is None:
            others = [one for one in dict.fromkeys(brokers) if one not in addresses]
            return await _first_broker(others, chosen, access, seconds)
        failed.append(problem)
    # An address that answers, and refuses, tells more than one that is silent.
    return min(failed, key=lambda one: one.code == _SILENT, default=None)


async def _first_broker(
    brokers: list[Address], chosen: Mapping[str, Any], access: Access, seconds: float
) -> Problem | None:
    for address in brokers:
        problem, _ = await _examined(address, chosen, access, seconds, from_broker=True)
        if problem:
            return problem
    return None


async def _examined(
    address: Address,
    chosen: Mapping[str, Any],
    access: Access,
    seconds: float,
    *,
    from_broker: bool = False,
) -> tuple[Problem | None, list[Address]]:
    """Return why an address cannot be used, and the brokers that it names.

    A broker that is about to stop closes connections as one that refuses them: it is asked again.
    """
    for doubts in (True, False):
        failure, brokers = await probe(address, chosen, seconds, from_broker=from_broker)
        if failure is None:
            return None, brokers
        code, fields = connection_failed(failure, access)
        if not (doubts and code in DOUBTFUL):
            break
        await asyncio.sleep(_AGAIN_SECONDS)
    return Problem(code, **fields), []


class Reporter:
    """Logs and counts the failures of this process's connections."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._count: Count = lambda _: None
        self._problems: dict[Address, Problem] = {}
        self._examining: dict[Address, asyncio.Task[None]] = {}

    @property
    def problem(self) -> Problem | None:
        """The reason why an address could not be used last; None if all can be used."""
        return next(iter(self._problems.values()), None)

    @asynccontextmanager
    async def reporting(self, settings: Settings, count: Count) -> AsyncIterator[None]:
        """Report while the block runs; `count` gets the label of each failure."""
        self._settings, self._count = settings, count
        try:
            yield
        finally:
            self._settings, self._count = None, lambda _: None
            self._problems.clear()
            for task in self._examining.values():
                task.cancel()

    def failed(self, address: Address) -> None:
        """Note that a connection failed: find out why, unless that is under way."""
        if self._settings is None or address in self._examining:
            return
        task = asyncio.create_task(self._examine(self._settings, address))
        self._examining[address] = task
        task.add_done_callback(lambda _: self._examining.pop(address, None))

    def succeeded(self, address: Address) -> None:
        self._problems.pop(address, None)

    def refused(self, problem: Problem) -> None:
        """Count the refusal of a right; the caller logs it, or shows it in health."""
        self._count(label(problem.code))

    async def _examine(self, settings: Settings, address: Address) -> None:
        known = {(host, port) for host, port, _ in collect_hosts(settings.kafka)}
        problem, _ = await _examined(
            address,
            options(settings),
            settings.access,
            _PROBE_SECONDS,
            from_broker=address not in known,
        )
        if problem is None:
            self.succeeded(address)
            return
        self._problems[address] = problem
        self._count(label(problem.code))
        broker = "{}:{}".format(*address)
        log.error("kafka_unusable", message=str(problem), code=problem.code, broker=broker)


reporter = Reporter()
