"""The contents of an archive of raw topics: manifests, coverage, gaps and ranges. Pure.

Each run writes a manifest last, with the files that it made and the offsets that it read. A file
that no manifest names is not part of the archive. A manifest has its own checksum, so a flipped
digit cannot extend its coverage.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

from processors.runtime.offset_ranges import Range
from schemas.coordinates import Partition
from schemas.webhook import to_iso
from service.errors import Problem

FORMAT = 1
MANIFESTS = "_manifests"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^provider=[^/]+/day=\d{4}-\d\d-\d\d/[^/]+\.parquet$")]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file: `path` is below the archive's URL; `since`, `until` are extreme times."""

    path: _Path
    size: int
    sha256: Sha256
    topic: str
    partition: int
    rows: int
    first: int
    last: int
    since: int
    until: int


class Witness(msgspec.Struct, frozen=True, kw_only=True):
    """One record that identifies the topic."""

    offset: int
    timestamp: int
    sha256: Sha256 | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets `start` to before `end` were read, and had `records` records."""

    topic: str
    partition: int
    start: int
    end: int
    records: int
    first: Witness | None
    last: Witness | None


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets that retention deleted before they were archived, and that were reported."""

    topic: str
    partition: int
    start: int
    end: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one run for one provider."""

    format: int
    provider: str
    written_at: int
    files: list[File]
    coverage: list[Coverage]
    lost: list[Lost]


class _Sealed(msgspec.Struct):
    """A manifest as written, with the checksum of its bytes."""

    sha256: str
    manifest: msgspec.Raw


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest."""
    body = msgspec.json.encode(manifest)
    sealed = _Sealed(sha256(body).hexdigest(), msgspec.Raw(body))
    return msgspec.json.encode(sealed) + b"\n"


def decode_manifest(name: str, data: bytes) -> Manifest:
    """Return the manifest of a file's bytes; or raise a `Problem` that names the file."""
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        body = bytes(sealed.manifest)
        if sha256(body).hexdigest() != sealed.sha256:
            raise Problem("manifest_damaged", manifest=name)
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem("not_a_manifest", manifest=name, why=str(error)) from None
    if manifest.format != FORMAT:
        raise Problem("manifest_format", manifest=name, found=manifest.format, known=FORMAT)
    return manifest


def file_name(provider: str, place: Partition, day: str, first: int, last: int) -> str:
    """Return the path of a file below the archive's URL."""
    topic, partition = place
    return f"provider={provider}/day={day}/{topic}-{partition}-{first}-{last}.parquet"


def day_of(timestamp: int) -> str:
    """Return the day of reception, UTC."""
    return to_iso(timestamp)[:10]


def joined(ranges: Iterable[tuple[int, int]]) -> list[Range]:
    """Return the same offsets in as few ranges as possible, in order."""
    whole: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if whole and start <= whole[-1].end:
            whole[-1] = Range(whole[-1].start, max(whole[-1].end, end))
        else:
            whole.append(Range(start, end))
    return whole


def without(ranges: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]]) -> list[Range]:
    """Return the offsets of `ranges` that are not in `taken`."""
    holes = joined(taken)
    left = []
    for start, end in joined(ranges):
        at = start
        for hole in holes:
            left.append(Range(at, min(end, hole.start)))
            at = max(at, hole.end)
        left.append(Range(at, end))
    return joined(left)


class Catalogue:
    """All manifests of an archive; overlapping runs are merged."""

    def __init__(self, manifests: Mapping[str, Manifest]) -> None:
        """`manifests` by their file's name."""
        every = manifests.values()
        # Two concurrent runs write the same file under the same name: it exists once.
        files = {(file.path, file.sha256): file for manifest in every for file in manifest.files}
        self.files = sorted(
            files.values(), key=lambda file: (file.topic, file.partition, file.first)
        )
        self.coverage = [one for manifest in every for one in manifest.coverage]
        self.lost = [one for manifest in every for one in manifest.lost]

    @property
    def places(self) -> list[Partition]:
        """Return the partitions with any coverage or loss, in order."""
        return sorted(
            {(one.topic, one.partition) for one in self.coverage}
            | {(one.topic, one.partition) for one in self.lost}
        )

    def covered(self, place: Partition) -> list[Range]:
        """Return the archived offsets."""
        return joined(_ranges(self.coverage, place))

    def reported_lost(self, place: Partition) -> list[Range]:
        """Return the lost offsets that were reported already."""
        return joined(_ranges(self.lost, place))

    def gaps(self, place: Partition) -> list[Range]:
        """Return the missing offsets between the first and the last archived or reported one."""
        covered = self.covered(place)
        known = joined([*covered, *self.reported_lost(place)])
        return without([(known[0].start, known[-1].end)], covered) if known else []

    def witness(self, place: Partition) -> Witness | None:
        """Return the last archived record of a partition."""
        known = [
            one.last for one in self.coverage if (one.topic, one.partition) == place and one.last
        ]
        return max(known, key=lambda one: one.offset, default=None)

    def overlapping(self, place: Partition, wanted: tuple[int, int]) -> list[File]:
        """Return the files that may have records of the range, by first offset."""
        start, end = wanted
        return [
            file
            for file in self.files
            if (file.topic, file.partition) == place and file.first < end and start <= file.last
        ]

    def by_time(
        self, topics: Sequence[str], since: int | None, until: int | None
    ) -> dict[Partition, Range]:
        """Return the offsets that hold every record received from `since` to before `until`.

        Raises `Problem` where the archive does not hold them all.
        """
        found = {}
        for place in self.places:
            if place[0] not in topics:
                continue
            inside = [
                Range(file.first, file.last + 1)
                for file in self.files
                if (file.topic, file.partition) == place
                and (since is None or since <= file.until)
                and (until is None or file.since < until)
            ]
            # Adjacent gaps are included: their missing records may belong to the range.
            inside += self._gaps_in(place, since, until)
            if inside:
                wanted = Range(min(one.start for one in inside), max(one.end for one in inside))
                self.require(place, wanted)
                self._refuse_before(place, since)
                found[place] = wanted
        if not found:
            raise Problem("archive_lacks_range", held=self.held(topics))
        self._refuse_after(topics, until)
        return found

    def require(self, place: Partition, wanted: Range) -> None:
        """Raise `Problem` unless all of the range is archived."""
        if missing := without([wanted], self.covered(place)):
            offsets = ", ".join(f"{start}-{end}" for start, end in missing)
            raise Problem(
                "archive_hole", partition=called(place), offsets=offsets, held=self.held([place[0]])
            )

    def held(self, topics: Iterable[str]) -> str:
        """Describe the contents for the topics or, if there are none, name the other topics."""
        there = {place[0] for place in self.places}
        known = [topic for topic in topics if topic in there]
        if not known:
            others = ", ".join(sorted(there)) or "nothing at all"
            return f"there is: {others} (BLUETICK_NAMESPACE says whose topics are looked for)"
        return "there is: " + "; ".join(self._extent(topic) for topic in known)

    def _extent(self, topic: str) -> str:
        files = [file for file in self.files if file.topic == topic]
        if not files:
            return f"{topic} has no record"
        first, last = min(file.first for file in files), max(file.last for file in files)
        since, until = min(file.since for file in files), max(file.until for file in files)
        return f"{topic} has offsets {first} to {last}, {to_iso(since)} to {to_iso(until)}"

    def _gaps_in(self, place: Partition, since: int | None, until: int | None) -> list[Range]:
        """Return the gaps that may have had bodies of the range, by the times next to them."""
        known = [one for one in self.coverage if (one.topic, one.partition) == place]
        lasts = [one.last for one in known if one.last]
        firsts = [one.first for one in known if one.first]
        found = []
        for gap in self.gaps(place):
            before = [one for one in lasts if one.offset < gap.start]
            after = [one for one in firsts if one.offset >= gap.end]
            begin = max(before, key=_offset).timestamp if before else None
            end = min(after, key=_offset).timestamp if after else None
            if (since is None or end is None or since < end) and (
                until is None or begin is None or begin < until
            ):
                found.append(gap)
        return found

    def _refuse_after(self, topics: Sequence[str], until: int | None) -> None:
        """Raise `Problem` if the range ends after the last body of all the topics."""
        last = max(file.until for file in self.files if file.topic in topics)
        if until is not None and until > last + 1:
            raise Problem("archive_ends_before", until=to_iso(until), last=to_iso(last))

    def _refuse_before(self, place: Partition, since: int | None) -> None:
        """Raise `Problem` if bodies received at `since` may precede the archived ones."""
        begin = min(
            (one for one in self.coverage if (one.topic, one.partition) == place),
            key=lambda one: one.start,
        )
        if since is None or begin.start == 0 or begin.first is None:
            return
        if since < begin.first.timestamp:
            raise Problem(
                "archive_begins_after",
                since=to_iso(since),
                partition=called(place),
                offset=begin.start,
                first=to_iso(begin.first.timestamp),
            )


class Plan(NamedTuple):
    """The offsets that a run must read of a partition, and those that are lost."""

    read: list[Range]
    lost: list[Range]


def plan(known: Catalogue, place: Partition, log: Range, wanted: Range | None = None) -> Plan:
    """Plan the reading of a log with the offsets `log`; by default all that is not archived.

    Raises `Problem` if the log ends before the archived offsets.
    """
    covered = known.covered(place)
    if covered and covered[-1].end > log.end:
        raise Problem(
            "archive_other_topic",
            partition=called(place),
            why=f"it ends at offset {log.end}, before {covered[-1].end}",
        )
    if wanted is None:
        wanted = Range(covered[0].start, log.end) if covered else log
    missing = without([wanted], covered)
    gone = [Range(0, log.start)]
    return Plan(
        without(missing, gone), without(without(missing, [log]), known.reported_lost(place))
    )


def called(place: Partition) -> str:
    """Return the name of a partition."""
    return f"{place[0]}[{place[1]}]"


def _offset(one: Witness) -> int:
    return one.offset


def _ranges(of: Iterable[Coverage | Lost], place: Partition) -> list[Range]:
    return [Range(one.start, one.end) for one in of if (one.topic, one.partition) == place]
