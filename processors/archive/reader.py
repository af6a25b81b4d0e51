"""Reading an archive: the same spans and batches as from the broker, verified first."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from processors.archive import parquet
from processors.archive.catalogue import MANIFESTS, Catalogue, File, called, decode_manifest
from processors.archive.storage import Storage, unfinished
from processors.runtime.offset_ranges import Span, Window, refuse_backwards, refuse_empty, remaining
from processors.runtime.raw_record import Batch, RawRecord, Source
from schemas.coordinates import Coordinates, Partition
from service.errors import Problem

_CHUNK = 1000
_CHUNK_BYTES = 4 * 1024 * 1024


def catalogue(storage: Storage) -> Catalogue:
    """Return the catalogue of all manifests; `Problem` if one cannot be read."""
    names = [name for name in storage.names(MANIFESTS) if not unfinished(name)]
    return Catalogue(
        {name: decode_manifest(f"{storage.url}/{name}", storage.read(name)) for name in names}
    )


class Archive:
    """An archive to read from, with the manifests that existed when it was opened."""

    def __init__(self, storage: Storage, known: Catalogue) -> None:
        self._storage = storage
        self._known = known

    @property
    def url(self) -> str:
        """Return the absolute URL, without credentials."""
        return self._storage.url

    def by_time(self, topics: Sequence[str], window: Window) -> list[Span]:
        """Return the spans that hold every record of the window; or raise `Problem`."""
        refuse_backwards(window)
        found = self._known.by_time(topics, window.since, window.until)
        return [Span(*place, *wanted) for place, wanted in found.items()]

    def by_offsets(self, topic: str, offsets: Mapping[int, tuple[int, int]]) -> list[Span]:
        """Return the spans of one topic for ranges of offsets by partition; or raise `Problem`."""
        wanted = [Span(topic, partition, *bounds) for partition, bounds in sorted(offsets.items())]
        for span in wanted:
            refuse_empty(span)
            self._known.require(span.place, span.offsets)
        return wanted

    def files_of(self, body: Coordinates) -> list[str]:
        """Return the names of the files that hold a raw body."""
        span = Span(body.topic, body.partition, body.offset, body.offset + 1)
        return [file.path for file in self._files(span)]

    async def verify(
        self, wanted: Iterable[Span], checked: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        """Raise `Problem` unless every file of the spans matches its manifest exactly.

        `checked` is called with the number of verified bytes, and their total.
        """
        needed = {file.path: file for span in wanted for file in self._files(span)}.values()
        total, done = sum(file.size for file in needed), 0
        for file in needed:
            await asyncio.to_thread(parquet.check, self._storage, file)
            done += file.size
            checked(done, total)

    async def read(self, wanted: Iterable[Span]) -> Source:
        """Yield all records of the spans, roughly in the order of time; memory: one chunk each.

        A message's bodies lie on any partition, so the partitions advance together.
        """
        heads: list[tuple[int, Partition]] = []
        ahead: dict[Partition, list[RawRecord]] = {}
        left = remaining(wanted, {})
        ways = {span.place: self._records(span) for span in left}
        for place, way in ways.items():
            await _advance(way, place, heads, ahead)
        while heads:
            _, place = heapq.heappop(heads)
            chunk = ahead.pop(place)
            yield Batch(chunk, {place: chunk[-1].offset + 1})
            await _advance(ways[place], place, heads, ahead)
        if left:
            yield Batch([], {span.place: span.end for span in left})

    def _files(self, span: Span) -> list[File]:
        return self._known.overlapping(span.place, span.offsets)

    def _records(self, span: Span) -> Iterator[RawRecord]:
        """Yield the records of a span in order, each once; days and overlapping runs are merged."""
        waiting = deque(self._files(span))
        heads: list[tuple[int, int, RawRecord, Iterator[RawRecord]]] = []
        last: RawRecord | None = None
        while waiting or heads:
            while waiting and (not heads or waiting[0].first <= heads[0][0]):
                source = parquet.records(self._storage, waiting.popleft(), span.start, span.end)
                if record := next(source, None):
                    heapq.heappush(heads, (record.offset, len(waiting), record, source))
            if not heads:
                continue
            offset, number, record, source = heads[0]
            if last is None or offset > last.offset:
                yield record
                last = record
            elif record != last:
                raise Problem(
                    "archive_files_disagree",
                    url=self.url,
                    offset=offset,
                    partition=called(span.place),
                )
            if following := next(source, None):
                heapq.heapreplace(heads, (following.offset, number, following, source))
            else:
                heapq.heappop(heads)


async def opened(url: str) -> Archive:
    """Open an archive for reading; raise `Problem` if there is none."""
    storage = Storage(url)
    known = await asyncio.to_thread(catalogue, storage)
    if not known.places:
        raise nothing_at(storage)
    return Archive(storage, known)


def nothing_at(storage: Storage) -> Problem:
    """Return the `Problem` of a directory without an archive."""
    return Problem("no_archive", url=storage.url, manifests=MANIFESTS)


async def _advance(
    way: Iterator[RawRecord],
    place: Partition,
    heads: list[tuple[int, Partition]],
    ahead: dict[Partition, list[RawRecord]],
) -> None:
    if chunk := await asyncio.to_thread(_chunk, way):
        ahead[place] = chunk
        heapq.heappush(heads, (chunk[0].timestamp, place))


def _chunk(records: Iterator[RawRecord]) -> list[RawRecord]:
    chunk, size = [], 0
    for record in records:
        chunk.append(record)
        size += len(record.body or b"")
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            break
    return chunk
