"""Small archives for tests, written by the real writer."""

import time
from collections.abc import Iterable, Sequence

from processors.archive.catalogue import FORMAT, MANIFESTS, Coverage, Manifest, encode_manifest
from processors.archive.parquet import Writer
from processors.archive.storage import Storage
from processors.archive.writer import witness
from processors.runtime.raw_record import RawRecord

TOPIC = "bluetick.raw.whapi"
HOUR = 3_600_000
BEGAN = 1_700_000_000_000


def record(
    offset: int, at: int | None = None, body: bytes | None = b"{}", partition: int = 0
) -> RawRecord:
    """Return one record; by default it was received 1 ms after the previous one."""
    received = BEGAN + offset if at is None else at
    return RawRecord(TOPIC, partition, offset, received, [("ce_id", b"%d" % offset)], body)


def write(storage: Storage, records: Sequence[RawRecord], *batches: int) -> Writer:
    """Write one partition's records, in batches that end at those indexes; return the files."""
    writer = Writer(storage, "whapi", (TOPIC, records[0].partition))
    for start, end in zip((0, *batches), (*batches, len(records)), strict=True):
        writer.add(records[start:end])
    writer.close()
    return writer


def archive(storage: Storage, *partitions: Sequence[RawRecord]) -> Manifest:
    """Write a run's files and manifest; each of `partitions` has records without gaps."""
    files = [file for records in partitions for file in write(storage, records).files]
    manifest = Manifest(
        format=FORMAT,
        provider="whapi",
        written_at=BEGAN,
        files=files,
        coverage=[_coverage(records) for records in partitions],
        lost=[],
    )
    name = f"{MANIFESTS}/whapi-{time.monotonic_ns()}.json"
    storage.write(name, encode_manifest(manifest))
    return manifest


def _coverage(records: Sequence[RawRecord]) -> Coverage:
    return Coverage(
        topic=TOPIC,
        partition=records[0].partition,
        start=records[0].offset,
        end=records[-1].offset + 1,
        records=len(records),
        first=witness(records[0]),
        last=witness(records[-1]),
    )


def offsets(records: Iterable[RawRecord]) -> list[int]:
    return [one.offset for one in records]
