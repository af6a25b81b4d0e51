"""Writing and reading one partition's records in Parquet files; every read is verified."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from processors.archive.catalogue import File, day_of, file_name
from processors.archive.storage import Part, Storage
from processors.runtime.raw_record import RawRecord
from schemas.coordinates import Partition
from service.errors import Problem

# The ends of row groups and files depend on the records alone. So the same records become the same
# bytes in every run, however they were polled.
GROUP_ROWS = 10_000
GROUP_BYTES = 4 * 1024 * 1024
FILE_ROWS = 200_000
FILE_BYTES = 64 * 1024 * 1024

# Bodies from a spool belong to earlier days. More days than this are closed, and opened again.
MOST_OPEN = 4

_HEADER = pa.struct([pa.field("name", pa.string(), nullable=False), ("value", pa.binary())])
SCHEMA = pa.schema(
    [
        ("body", pa.binary()),
        pa.field("headers", pa.list_(pa.field("element", _HEADER, nullable=False)), nullable=False),
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        ("sha256", pa.binary(32)),
    ]
)
# Columns with repeated values; a dictionary of bodies or hashes would be useless.
_REPEATING = ["headers.list.element.name", "headers.list.element.value", "topic", "partition"]
_OFFSET = SCHEMA.get_field_index("offset") + 1  # headers are two columns under one name
_READ_BYTES = 4 * 1024 * 1024
_SLICE = 1000


class Writer:
    """Writes the records of one partition, in order, a file or more for each day of reception."""

    def __init__(self, storage: Storage, provider: str, place: Partition) -> None:
        self._storage = storage
        self._provider = provider
        self._place = place
        self._open: dict[str, _Open] = {}
        self.files: list[File] = []

    def add(self, records: Sequence[RawRecord]) -> None:
        for record in records:
            day = day_of(record.timestamp)
            one = self._open.pop(day, None) or self._begin(day)
            self._open[day] = one  # the most recently used one is last
            one.add(record)
            if one.full:
                self._end(day)

    def close(self) -> None:
        """Finish all open files; after that `files` is complete."""
        for day in list(self._open):
            self._end(day)

    def abandon(self) -> None:
        """Delete all unfinished files."""
        while self._open:
            # A file that cannot be deleted must not keep the others, or hide the first error.
            with contextlib.suppress(Problem):
                self._open.popitem()[1].part.drop()

    def _begin(self, day: str) -> "_Open":
        if len(self._open) == MOST_OPEN:
            self._end(next(iter(self._open)))
        return _Open(self._storage.writing(file_name(self._provider, self._place, day, 0, 0)))

    def _end(self, day: str) -> None:
        self.files.append(self._open[day].end(self._provider, self._place, day))
        del self._open[day]


class _Open:
    """A file that is being written."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._sink = _Sink(part)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            SCHEMA,
            compression="zstd",
            use_dictionary=_REPEATING,
            write_statistics=["offset", "timestamp"],
            write_page_checksum=True,
        )
        self._group: list[RawRecord] = []
        self._bytes = 0
        self._rows = 0
        self._first = self._last = 0
        self._since = self._until = 0

    @property
    def full(self) -> bool:
        return self._rows >= FILE_ROWS or self.part.size >= FILE_BYTES

    def add(self, record: RawRecord) -> None:
        if self._rows == 0:
            self._first = record.offset
            self._since = self._until = record.timestamp
        self._last = record.offset
        self._since = min(self._since, record.timestamp)
        self._until = max(self._until, record.timestamp)
        self._rows += 1
        self._group.append(record)
        self._bytes += len(record.body or b"") + sum(len(v or b"") for _, v in record.headers)
        if len(self._group) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def end(self, provider: str, place: Partition, day: str) -> File:
        """Finish the file; return its entry for the manifest."""
        self._flush()
        self._writer.close()
        name = file_name(provider, place, day, self._first, self._last)
        self.part.keep(name)
        return File(
            path=name,
            size=self.part.size,
            sha256=self._sink.hash.hexdigest(),
            topic=place[0],
            partition=place[1],
            rows=self._rows,
            first=self._first,
            last=self._last,
            since=self._since,
            until=self._until,
        )

    def _flush(self) -> None:
        if self._group:
            self._writer.write_table(_table(self._group), row_group_size=len(self._group))
            self._group, self._bytes = [], 0


class _Sink(io.RawIOBase):
    """A stream that hashes the Parquet bytes on their way to the file."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part
        self.hash = sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._part.size

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self._part.write(data)


def check(storage: Storage, file: File) -> None:
    """Raise `Problem` unless the file has exactly the size and checksum of its manifest."""
    size, digest = 0, sha256()
    with storage.open(file.path) as stream:
        while data := _read(storage, file, stream):
            size += len(data)
            digest.update(data)
    if size != file.size:
        raise _damaged(storage, file, f"it has {size} bytes, not {file.size}")
    if digest.hexdigest() != file.sha256:
        raise _damaged(storage, file, "its checksum is not that of the manifest")


def records(storage: Storage, file: File, start: int = 0, end: int = 2**63) -> Iterator[RawRecord]:
    """Yield the records with offsets from `start` to before `end`; or raise `Problem`."""
    last = file.first - 1
    try:
        with (
            storage.open(file.path) as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as parquet,
        ):
            if not parquet.schema_arrow.equals(SCHEMA):
                raise _damaged(storage, file, "its columns are not those of an archive")
            for group in _groups(parquet.metadata, start, end):
                # With a Python file, Arrow's threads may abort the process at its end, or block
                # its end (apache/arrow issues 34314 and 50482).
                table = parquet.read_row_group(group, use_threads=False)
                for record, digest in _rows(table):
                    if not _in_place(file, record, last):
                        raise _damaged(storage, file, f"offset {record.offset} is out of place")
                    if digest != body_hash(record.body):
                        raise _damaged(storage, file, f"the body at offset {record.offset} is not")
                    last = record.offset
                    if start <= record.offset < end:
                        yield record
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(storage, file, str(error)) from error


def body_hash(body: bytes | None) -> bytes | None:
    """Return the checksum of a body; None for None."""
    return None if body is None else sha256(body).digest()


def _table(group: Sequence[RawRecord]) -> Any:
    counts = [0]
    for record in group:
        counts.append(counts[-1] + len(record.headers))
    headers = [header for record in group for header in record.headers]
    structs = pa.StructArray.from_arrays(
        [
            pa.array([name for name, _ in headers], pa.string()),
            pa.array([value for _, value in headers], pa.binary()),
        ],
        type=_HEADER,
    )
    columns = [
        pa.array([record.body for record in group], pa.binary()),
        pa.ListArray.from_arrays(
            pa.array(counts, pa.int32()), structs, type=SCHEMA.field("headers").type
        ),
        pa.array([record.topic for record in group], pa.string()),
        pa.array([record.partition for record in group], pa.int32()),
        pa.array([record.offset for record in group], pa.int64()),
        pa.array([record.timestamp for record in group], pa.int64()).cast(
            SCHEMA.field("timestamp").type
        ),
        pa.array([body_hash(record.body) for record in group], pa.binary(32)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _rows(table: Any) -> Iterator[tuple[RawRecord, bytes | None]]:
    for batch in table.to_batches(max_chunksize=_SLICE):
        headers = batch.column("headers")
        counts = headers.offsets.to_pylist()
        flat = headers.values[counts[0] : counts[-1]]
        pairs = list(zip(flat.field(0).to_pylist(), flat.field(1).to_pylist(), strict=True))
        rows = zip(
            batch.column("topic").to_pylist(),
            batch.column("partition").to_pylist(),
            batch.column("offset").to_pylist(),
            batch.column("timestamp").cast(pa.int64()).to_pylist(),
            [pairs[start - counts[0] : end - counts[0]] for start, end in pairwise(counts)],
            batch.column("body").to_pylist(),
            batch.column("sha256").to_pylist(),
            strict=True,
        )
        for *fields, digest in rows:
            yield RawRecord(*fields), digest


def _groups(metadata: Any, start: int, end: int) -> Iterator[int]:
    """Yield the row groups that may have offsets from `start` to before `end`."""
    for number in range(metadata.num_row_groups):
        known = metadata.row_group(number).column(_OFFSET).statistics
        if known is None or (known.min < end and start <= known.max):
            yield number


def _in_place(file: File, record: RawRecord, last: int) -> bool:
    of = (record.topic, record.partition) == (file.topic, file.partition)
    return of and last < record.offset <= file.last


def _read(storage: Storage, file: File, stream: Any) -> bytes:
    try:
        return bytes(stream.read(_READ_BYTES))
    except Exception as error:  # each file system has its own errors
        raise _damaged(storage, file, str(error)) from error


def _damaged(storage: Storage, file: File, why: str) -> Problem:
    return Problem("archive_file_damaged", file=f"{storage.url}/{file.path}", why=why)
