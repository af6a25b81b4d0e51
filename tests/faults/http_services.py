"""Starts the services of a trial whose load comes by HTTP, and waits for timely statuses."""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.known_facts import IN_TIME_SECONDS
from tests.faults.trial import NeverError, Trial
from tests.faults.workers import Worker

_MANY = 20  # statuses in time, one after the other
_FRESH_SECONDS = 3.0
_IN_TIME_PATIENCE_SECONDS = 90.0


async def start_services(trial: Trial) -> None:
    """Start an ingest without a spool and one with, two normalisers and two trackers."""
    await ingest(trial)
    await ingest(trial, spool=trial.home / "spool")
    for service in ("normalise", "normalise", "track", "track"):
        await trial.start(service, ready=False)
    await trial.shared("normalise")
    await trial.shared("track")
    await in_time(trial)


async def ingest(trial: Trial, *, spool: Path | None = None, **options: Any) -> Worker:
    """Start an ingest and post to it; `spool` is the directory of its spool."""
    if spool:
        spool.mkdir(exist_ok=True)  # noqa: ASYNC240 - once
        trial.spools.append(spool)
        options["spool"] = spool
    worker = await trial.start("ingest", **{"drain": 0, "ingest_metrics_port": 0, **options})
    trial.http_load.add(worker.url)
    return worker


async def in_time(trial: Trial) -> None:
    """Wait until the last statuses of each partition were seen in time, and new ones come.

    On a machine that is too busy for this, after a while new statuses are enough.
    """
    topic = trial.settings.topics.statuses
    begun = trial.live.count(topic)

    async def are_in_time() -> bool:
        count = trial.live.count(topic)
        new = zip(
            trial.live.records[topic][begun:count],
            trial.live.seen[topic][begun:count],
            strict=True,
        )
        delays = defaultdict[int, list[float]](list)
        for record, seen in new:
            received = msgspec.json.decode(record.value)["received_at"] / 1000
            delays[record.partition].append(seen - received)
        last = [some[-_MANY:] for some in delays.values() if len(some) >= _MANY]
        all_are = all(delay < IN_TIME_SECONDS for some in last for delay in some)
        fresh = count > 0 and time.time() - trial.live.seen[topic][count - 1] < _FRESH_SECONDS
        return len(last) == trial.settings.partitions and all_are and fresh

    try:
        await trial.until(are_in_time, "statuses in time", _IN_TIME_PATIENCE_SECONDS)
    except NeverError:
        trial.did["times too busy to be in time"] += 1
        await trial.published(_MANY * trial.settings.partitions)
