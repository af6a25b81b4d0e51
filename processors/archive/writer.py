"""One run of an archive: copy the records that it lacks, then write a manifest."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from processors.archive import parquet
from processors.archive.catalogue import (
    FORMAT,
    MANIFESTS,
    Catalogue,
    Coverage,
    Lost,
    Manifest,
    Plan,
    Witness,
    called,
    encode_manifest,
    plan,
)
from processors.archive.storage import Storage
from processors.runtime import failpoints, log_ranges
from processors.runtime.offset_ranges import Range, Span, Window
from processors.runtime.raw_record import RawRecord
from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.errors import Problem
from service.settings import Settings
from service.wall_clock import now_ms


class Watcher(Protocol):
    """A receiver of progress reports."""

    def moved(self, offsets: int, records: int, size: int) -> None:
        """Report passed offsets, with the number and bytes of their records."""


async def prepare(
    settings: Settings, known: Catalogue, topics: Sequence[str], window: Window | None
) -> dict[Partition, Plan]:
    """Plan what to read of each partition: a window, or all that is not archived.

    Raises `Problem` if a topic is not the one that was archived.
    """
    log = {place: span.offsets for place, span in (await log_ranges.held(settings, topics)).items()}
    wanted: Mapping[Partition, Range | None] = dict.fromkeys(log)
    if window is not None:
        ranges = await log_ranges.by_time(settings, topics, window)
        wanted = {span.place: span.offsets for span in ranges}
    plans = {place: plan(known, place, log[place], wanted[place]) for place in wanted}
    await _recognise(settings, known, log)
    return plans


async def archive(
    settings: Settings,
    storage: Storage,
    provider: str,
    plans: Mapping[Partition, Plan],
    watcher: Watcher,
) -> Manifest | None:
    """Write the planned records and then the manifest; return None if there are none."""
    if not any(one.read or one.lost for one in plans.values()):
        return None
    written: list[parquet.Writer] = []
    coverage = []
    for place, one in plans.items():
        for wanted in one.read:
            writer = parquet.Writer(storage, provider, place)
            coverage.append(await _copy(settings, Span(*place, *wanted), writer, watcher))
            written.append(writer)
    now = now_ms()
    manifest = Manifest(
        format=FORMAT,
        provider=provider,
        written_at=now,
        files=[file for writer in written for file in writer.files],
        coverage=coverage,
        lost=[
            Lost(topic=place[0], partition=place[1], start=gone.start, end=gone.end)
            for place, one in plans.items()
            for gone in one.lost
        ],
    )
    stamp = to_iso(now).replace("-", "").replace(":", "")
    failpoints.reach("archive.before_manifest")
    name = f"{MANIFESTS}/{provider}-{stamp}-{secrets.token_hex(4)}.json"
    await asyncio.to_thread(storage.write, name, encode_manifest(manifest))
    return manifest


async def _recognise(settings: Settings, known: Catalogue, log: Mapping[Partition, Range]) -> None:
    """Raise `Problem` if the last archived record is still in the log, and differs."""
    witnesses = {
        place: last
        for place, kept in log.items()
        if (last := known.witness(place)) and kept.start <= last.offset < kept.end
    }
    wanted = [Span(*place, w.offset, w.offset + 1) for place, w in witnesses.items()]
    found = {
        (record.topic, record.partition): witness(record)
        async for batch in log_ranges.read(settings, wanted)
        for record in batch.records
    }
    for place, last in witnesses.items():
        if found.get(place) != last:
            when = to_iso(last.timestamp)
            raise Problem(
                "archive_other_topic",
                partition=called(place),
                why=f"offset {last.offset}, received at {when}, is another body",
            )


class _Copied(NamedTuple):
    """The records copied from a range so far."""

    records: int = 0
    first: RawRecord | None = None
    last: RawRecord | None = None


async def _copy(
    settings: Settings, span: Span, writer: parquet.Writer, watcher: Watcher
) -> Coverage:
    copied, at = _Copied(), span.start
    loop = asyncio.get_running_loop()
    # One thread: a file is never abandoned while it is being written.
    with ThreadPoolExecutor(1, "archive") as thread:
        try:
            async for batch in log_ranges.read(settings, [span]):
                await loop.run_in_executor(thread, writer.add, batch.records)
                if batch.records:
                    copied = _Copied(
                        copied.records + len(batch.records),
                        copied.first or batch.records[0],
                        batch.records[-1],
                    )
                reached = batch.reached.get(span.place, at)
                watcher.moved(reached - at, len(batch.records), sum(map(_size, batch.records)))
                at = reached
            await loop.run_in_executor(thread, writer.close)
        finally:
            await loop.run_in_executor(thread, writer.abandon)
    return Coverage(
        topic=span.topic,
        partition=span.partition,
        start=span.start,
        end=span.end,
        records=copied.records,
        first=copied.first and witness(copied.first),
        last=copied.last and witness(copied.last),
    )


def witness(record: RawRecord) -> Witness:
    """Return the data that identify a record among all others at its offset."""
    digest = parquet.body_hash(record.body)
    return Witness(
        offset=record.offset,
        timestamp=record.timestamp,
        sha256=None if digest is None else digest.hex(),
    )


def _size(record: RawRecord) -> int:
    return len(record.body or b"") + sum(len(value or b"") for _, value in record.headers)
