"""The report of a replay: the records on the derived topics that name it as their origin."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeVar

from processors.replay.progress import Replay
from processors.runtime import consumer_groups, log_ranges
from schemas.codec import Decoder, UndecodableError, decode_event, decode_inbound, decode_status
from service.errors import Problem
from service.settings import Settings

T = TypeVar("T")

# The greatest difference between the clocks of the replaying and the tracking process.
_SKEW_MS = 3_600_000


@dataclass(slots=True)
class Report:
    """Counts of records; `behind` is the number of observations still to be tracked."""

    replay: Replay
    behind: int = 0
    facts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By provider, status (or `inbound`) and verdict (`-` or `corrected` for inbound)."""
    events: Counter[str] = field(default_factory=Counter)


async def report(settings: Settings, replay: Replay, wait: float) -> Report:
    """Count the records of a replay; wait at most `wait` seconds for the tracker."""
    topics = settings.topics
    behind = await consumer_groups.passed(
        settings, topics.group("track"), topics.observations, wait
    )
    result = Report(replay, behind)
    async for status in _records_of(settings, topics.statuses, replay, decode_status):
        if status.replay == replay.id:
            result.facts[status.provider, status.status, status.verdict] += 1
    async for inbound in _records_of(settings, topics.inbound, replay, decode_inbound):
        if inbound.replay == replay.id:
            verdict = "corrected" if inbound.revision else "-"
            result.facts[inbound.provider, "inbound", verdict] += 1
    async for event in _records_of(settings, topics.events, replay, decode_event):
        if event.cause.replay == replay.id:
            result.events[str(event.__struct_config__.tag)] += 1
    return result


async def _records_of(
    settings: Settings, topic: str, replay: Replay, decode: Decoder[T]
) -> AsyncIterator[T]:
    """Yield the records of a topic, since the start of the replay, that contain its id."""
    mark = f'"replay":"{replay.id}"'.encode()
    log = await log_ranges.everything(settings, [topic], replay.started_at - _SKEW_MS)
    async for batch in log_ranges.consumed(settings, log):
        for record in batch.records:
            if record.value is not None and mark in record.value:
                try:
                    yield decode(record.value)
                except UndecodableError as error:
                    raise Problem(
                        "record_unreadable",
                        topic=topic,
                        partition=record.partition,
                        offset=record.offset,
                        why=str(error),
                    ) from None
