"""The alarm about bodies that name accounts of other sources: a count and a log line."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from processors.normalising import metrics
from processors.runtime.alarms import LogLimit
from processors.runtime.raw_record import RawRecord
from providers.contract import DeadLetter
from schemas.webhook import source_of
from service.logger import logger

log = logger(__name__)

_LONGEST = 100


class Foreign(NamedTuple):
    """One item that names an account of another source, and its coordinates."""

    source: str
    account: str
    at: str

    def __str__(self) -> str:
        # Text from the sender: cut, and without control characters, which could command a terminal.
        source, account = ascii(self.source[:_LONGEST]), ascii(self.account[:_LONGEST])
        return (
            f"{self.at}: the source {source} speaks for the account {account}, which is not its "
            "own; it is a dead letter (foreign_account): if it is right, correct `accounts` and "
            "retry it, else change the secret of that source (docs/sources.md)"
        )


def found(raw: RawRecord, provider: str, letters: Iterable[DeadLetter]) -> list[Foreign]:
    """Return the items of a body that name an account of another source."""
    foreign = [letter for letter in letters if letter.code == "foreign_account"]
    if not foreign:
        return []
    source, place = source_of(raw.headers, provider), f"{raw.topic}[{raw.partition}]@{raw.offset}"
    return [Foreign(source, letter.account, f"{place}{letter.pointer}") for letter in foreign]


class Alarm:
    """Counts foreign items, and logs an ERROR for each source at most once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = LogLimit()

    def raise_for(self, items: Iterable[Foreign]) -> None:
        for one in items:
            label = metrics.source_label(one.source)
            metrics.foreign.labels(label).inc()
            self._log(label, one)

    def _log(self, label: str, one: Foreign) -> None:
        if self._limit.due(label, self._clock()):
            more = self._limit.skipped(label)
            since = f" ({more} more since the last such line)" if more else ""
            log.error("foreign_account", message=f"{one}{since}", source=label, count=more + 1)
