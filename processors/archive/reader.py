"""Reading an archive: the same spans and batches as from the broker, all of it checked first."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from processors.archive import parquet
from processors.archive.catalogue import MANIFESTS, Catalogue, File, called, decode_manifest
from processors.archive.storage import Storage, unfinished
from processors.runtime.offset_ranges import Span, Window, refuse_backwards, refuse_empty, remaining
from processors.runtime.raw_record import Batch, RawRecord, Source
from schemas.coordinates import Partition
from service.errors import Problem

_CHUNK = 1000
_CHUNK_BYTES = 4 * 1024 * 1024


def catalogue(storage: Storage) -> Catalogue:
    """All that the archive's manifests say; raises `Problem` for one that cannot be read."""
    names = [name for name in storage.names(MANIFESTS) if not unfinished(name)]
    return Catalogue(
        {name: decode_manifest(f"{storage.url}/{name}", storage.read(name)) for name in names}
    )


class Archive:
    """An archive to read from, as its manifests were when it was opened."""

    def __init__(self, storage: Storage, known: Catalogue) -> None:
        self._storage = storage
        self._known = known

    @property
    def url(self) -> str:
        """Where it lies, without credentials and wherever it is read from."""
        return self._storage.url

    def by_time(self, topics: Sequence[str], window: Window) -> list[Span]:
        """The spans that hold every record of the window; raises `Problem` if it does not."""
        refuse_backwards(window)
        found = self._known.by_time(topics, window.since, window.until)
        return [Span(*place, *wanted) for place, wanted in found.items()]

    def by_offsets(self, topic: str, offsets: Mapping[int, tuple[int, int]]) -> list[Span]:
        """Spans of one topic, from an offset to before another by partition; raises `Problem`."""
        wanted = [Span(topic, partition, *bounds) for partition, bounds in sorted(offsets.items())]
        for span in wanted:
            refuse_empty(span)
            self._known.require(span.place, span.offsets)
        return wanted

    async def verify(
        self, wanted: Iterable[Span], checked: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        """Raise `Problem` unless every file of the spans is what its manifest says, to the byte.

        `checked` hears how many bytes are checked, and of how many.
        """
        needed = {file.path: file for span in wanted for file in self._files(span)}.values()
        total, done = sum(file.size for file in needed), 0
        for file in needed:
            await asyncio.to_thread(parquet.check, self._storage, file)
            done += file.size
            checked(done, total)

    async def read(self, wanted: Iterable[Span]) -> Source:
        """All records of the spans, near to the order of time; memory is that of some chunks.

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
        """The records of a span in order, each once; days and overlapping runs are merged."""
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
            offset, turn, record, source = heads[0]
            if last is None or offset > last.offset:
                yield record
                last = record
            elif record != last:
                raise Problem(
                    f"two files of {self.url} disagree on offset {offset} of {called(span.place)}; "
                    "they are of different topics of one name: keep each in an archive of its own"
                )
            if following := next(source, None):
                heapq.heapreplace(heads, (following.offset, turn, following, source))
            else:
                heapq.heappop(heads)


async def opened(url: str) -> Archive:
    """Open an archive to read it; raises `Problem` if there is none."""
    storage = Storage(url)
    known = await asyncio.to_thread(catalogue, storage)
    if not known.places:
        raise nothing_at(storage)
    return Archive(storage, known)


def nothing_at(storage: Storage) -> Problem:
    """Say that a place holds no archive."""
    return Problem(
        f"there is no archive at {storage.url}: it has no manifest in {MANIFESTS}; "
        "give the URL that `bluetick archive` was given"
    )


async def _advance(
    way: Iterator[RawRecord],
    place: Partition,
    heads: list[tuple[int, Partition]],
    ahead: dict[Partition, list[RawRecord]],
) -> None:
    if chunk := await asyncio.to_thread(_take, way):
        ahead[place] = chunk
        heapq.heappush(heads, (chunk[0].timestamp, place))


def _take(records: Iterator[RawRecord]) -> list[RawRecord]:
    taken, size = [], 0
    for record in records:
        taken.append(record)
        size += len(record.body or b"")
        if len(taken) == _CHUNK or size >= _CHUNK_BYTES:
            break
    return taken
