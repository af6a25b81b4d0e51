"""Verifying a whole archive: every manifest, file and body, and its gaps."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from processors.archive import parquet as files
from processors.archive.catalogue import (
    MANIFESTS,
    Catalogue,
    File,
    Manifest,
    called,
    decode_manifest,
)
from processors.archive.reader import nothing_at
from processors.archive.storage import Storage, unfinished
from schemas.coordinates import Partition
from service.errors import Problem


class Held(NamedTuple):
    """The contents for one partition; `first` and `last` are offsets, None without records."""

    place: Partition
    first: int | None
    last: int | None
    records: int
    files: int
    size: int
    troubles: list[str]


class Verified(NamedTuple):
    """The result; `unnamed` files are in no manifest, left by an interrupted run.

    The list is empty if a manifest cannot be read: the files may belong to it.
    """

    held: list[Held]
    troubles: list[str]
    unnamed: list[str]

    @property
    def sound(self) -> bool:
        return not self.troubles and not any(one.troubles for one in self.held)


def verify(storage: Storage, checked: Callable[[int, int], None]) -> Verified:
    """Check everything; `checked` gets the checked bytes and their total. Raises `Problem`."""
    names = storage.names()
    manifests, troubles = _manifests(storage, names)
    if not manifests and not troubles:
        raise nothing_at(storage)
    known, readable = Catalogue(manifests), not troubles
    total, done = sum(file.size for file in known.files), 0
    wrong: dict[str, list[str]] = {}
    for file in known.files:
        wrong[file.path] = list(_wrong(storage, file))
        done += file.size
        checked(done, total)
    for name, manifest in manifests.items():
        troubles.extend(f"{name}: {trouble}" for trouble in _lacking(manifest))
    named = {*manifests, *(file.path for file in known.files)}
    unnamed = [name for name in names if name not in named and not _is_manifest(name)]
    held = [_held(known, place, wrong) for place in known.places]
    return Verified(held, troubles, unnamed if readable else [])


def _is_manifest(name: str) -> bool:
    return name.startswith(f"{MANIFESTS}/") and not unfinished(name)


def _manifests(storage: Storage, names: list[str]) -> tuple[dict[str, Manifest], list[str]]:
    """Return the readable manifests, and the troubles of the others."""
    manifests, troubles = {}, []
    for name in filter(_is_manifest, names):
        try:
            manifests[name] = decode_manifest(f"{storage.url}/{name}", storage.read(name))
        except Problem as problem:
            troubles.append(str(problem))
    return manifests, troubles


def _wrong(storage: Storage, file: File) -> Iterator[str]:
    """Yield the troubles of a file: its bytes, pages and bodies, or its manifest entry."""
    try:
        files.check(storage, file)
        found = _Extent()
        for record in files.records(storage, file):
            found.add(record.offset, record.timestamp)
    except Problem as problem:
        yield str(problem)
        return
    if found.what != (file.rows, file.first, file.last, file.since, file.until):
        yield f"{storage.url}/{file.path} does not hold the records its manifest names"


class _Extent:
    """The extent of records: count, first and last offset, least and greatest time."""

    def __init__(self) -> None:
        self.what = (0, 0, 0, 0, 0)

    def add(self, offset: int, time: int) -> None:
        rows, first, _, since, until = self.what
        if rows:
            self.what = (rows + 1, first, offset, min(since, time), max(until, time))
        else:
            self.what = (1, offset, offset, time, time)


def _lacking(manifest: Manifest) -> Iterator[str]:
    """Yield a trouble for each partition whose files do not have the records that were read."""
    for place in sorted({(one.topic, one.partition) for one in manifest.coverage}):
        read = sum(one.records for one in manifest.coverage if (one.topic, one.partition) == place)
        rows = sum(file.rows for file in manifest.files if (file.topic, file.partition) == place)
        if rows != read:
            yield f"{called(place)}: {read} records were read, and its files have {rows}"


def _held(known: Catalogue, place: Partition, wrong: dict[str, list[str]]) -> Held:
    of = [file for file in known.files if (file.topic, file.partition) == place]
    troubles = [trouble for file in of for trouble in wrong[file.path]]
    troubles += [
        f"{called(place)} lacks the offsets {gap.start}-{gap.end}: they were never archived"
        for gap in known.gaps(place)
    ]
    return Held(
        place,
        min((file.first for file in of), default=None),
        max((file.last for file in of), default=None),
        sum(file.rows for file in of),
        len(of),
        sum(file.size for file in of),
        troubles,
    )
