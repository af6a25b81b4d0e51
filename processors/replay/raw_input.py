"""The input of a replay: bodies from Kafka's log, or from an archive."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing

from processors.archive import requirements
from processors.replay.progress import Spec
from processors.runtime import consumer_groups, log_ranges
from processors.runtime.offset_ranges import Span, Window
from processors.runtime.raw_record import Source
from service.errors import Problem
from service.settings import Settings


async def logged(
    settings: Settings,
    topics: Sequence[str],
    window: Window,
    offsets: Mapping[int, tuple[int, int]],
) -> tuple[list[Span], list[Span]]:
    """Return a range's spans in Kafka's log, and their parts before the live service's offsets."""
    if offsets:
        found = await log_ranges.by_offsets(settings, topics[0], offsets)
    else:
        found = await log_ranges.by_time(settings, topics, window)
    done = await consumer_groups.committed(settings, settings.topics.group("normalise"))
    cut = log_ranges.normalised(found, done)
    if not cut:
        raise Problem("range_not_normalised")
    return found, cut


async def archived(
    settings: Settings,
    topics: Sequence[str],
    window: Window,
    offsets: Mapping[int, tuple[int, int]],
    url: str,
) -> tuple[str, list[Span]]:
    """Return the archive's full URL, and a range's spans in it.

    The spans include bodies that normalise has not processed yet: the log may be another one by
    now, or be empty, and a body that is normalised twice does no harm.
    """
    requirements.check()
    from processors.archive import reader  # noqa: PLC0415 (the extra "archive")

    archive = await reader.opened(url)
    found = archive.by_offsets(topics[0], offsets) if offsets else archive.by_time(topics, window)
    if beyond := [span.partition for span in found if span.partition >= settings.partitions]:
        raise Problem(
            "archive_more_partitions", partition=max(beyond), partitions=settings.partitions
        )
    return archive.url, found


async def bodies(settings: Settings, spec: Spec, wanted: Iterable[Span]) -> Source:
    """Yield the bodies of spans of a replay; an archive's files are all verified first."""
    source = (
        log_ranges.read(settings, wanted)
        if spec.archive is None
        else _archived(spec.archive, wanted)
    )
    async with aclosing(source):
        async for batch in source:
            yield batch


async def _archived(url: str, wanted: Iterable[Span]) -> Source:
    requirements.check()
    from processors.archive import reader  # noqa: PLC0415 (the extra "archive")

    archive, left = await reader.opened(url), list(wanted)
    await archive.verify(left)
    async with aclosing(archive.read(left)) as source:
        async for batch in source:
            yield batch
