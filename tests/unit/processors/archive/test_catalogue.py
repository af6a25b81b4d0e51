"""The contents and gaps of an archive, from its manifests alone."""

from hashlib import sha256
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.archive import catalogue
from processors.archive.catalogue import (
    Catalogue,
    Coverage,
    File,
    Lost,
    Manifest,
    Plan,
    Witness,
    decode_manifest,
    encode_manifest,
)
from processors.runtime.offset_ranges import Range
from service.errors import Problem

TOPIC = "bluetick.raw.whapi"
PLACE = (TOPIC, 0)
DAY = 24 * 3_600_000
RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def covered(*ranges: tuple[int, int], lost: tuple[tuple[int, int], ...] = ()) -> Catalogue:
    """Return an archive with a run for each range; offset n was received on day n."""
    return Catalogue(
        {str(n): manifest(one, lost if n == 0 else ()) for n, one in enumerate(ranges)}
    )


def manifest(one: tuple[int, int], lost: tuple[tuple[int, int], ...] = ()) -> Manifest:
    start, end = one
    file = File(
        path=catalogue.file_name("whapi", PLACE, catalogue.day_of(start * DAY), start, end - 1),
        size=1,
        sha256="a" * 64,
        topic=TOPIC,
        partition=0,
        rows=end - start,
        first=start,
        last=end - 1,
        since=start * DAY,
        until=(end - 1) * DAY,
    )
    coverage = Coverage(
        topic=TOPIC,
        partition=0,
        start=start,
        end=end,
        records=end - start,
        first=witness(start),
        last=witness(end - 1),
    )
    gone = [Lost(topic=TOPIC, partition=0, start=a, end=b) for a, b in lost]
    return Manifest(
        format=1, provider="whapi", written_at=7, files=[file], coverage=[coverage], lost=gone
    )


def witness(offset: int) -> Witness:
    return Witness(offset=offset, timestamp=offset * DAY, sha256=None)


HOLED = covered((0, 4), (6, 9))
HOLE = r"has a hole: .*\[0\] lacks the offsets 4-6"


def offsets(ranges: list[Any]) -> set[int]:
    return {offset for start, end in ranges for offset in range(start, end)}


@given(RANGES, RANGES)
def test_ranges_are_sets_of_offsets(some: list[Any], others: list[Any]) -> None:
    """Union and difference equal those of the offsets, in order, in as few ranges as possible."""
    for found, expected in (
        (catalogue.joined(some), offsets(some)),
        (catalogue.without(some, others), offsets(some) - offsets(others)),
    ):
        assert offsets(found) == expected
        assert all(a.end < b.start for a, b in pairwise(found))
        assert all(start < end for start, end in found)


@pytest.mark.parametrize(
    ("known", "log", "wanted", "read", "lost"),
    [
        # Nothing is archived yet: read the whole log; earlier records do not count as lost.
        (covered(), (5, 9), None, [(5, 9)], []),
        (covered((0, 4)), (0, 9), None, [(4, 9)], []),
        (covered((0, 4)), (4, 4), None, [], []),
        (covered((0, 4)), (2, 4), None, [], []),
        # Overlapping runs are merged.
        (covered((0, 4), (2, 6)), (0, 9), None, [(6, 9)], []),
        # A gap is filled while the log has it.
        (covered((0, 2), (5, 6)), (0, 9), None, [(2, 5), (6, 9)], []),
        (covered((0, 2), (5, 6)), (4, 9), None, [(4, 5), (6, 9)], [(2, 4)]),
        # Retention deleted some first.
        (covered((0, 4)), (6, 9), None, [(6, 9)], [(4, 6)]),
        (covered((0, 4)), (9, 9), None, [], [(4, 9)]),
        # It is reported once.
        (covered((0, 4), (6, 9), lost=((4, 6),)), (7, 10), None, [(9, 10)], []),
        # A requested range, without its archived offsets.
        (covered((3, 5)), (0, 9), (1, 8), [(1, 3), (5, 8)], []),
        (covered((0, 9)), (0, 9), (1, 8), [], []),
    ],
)
def test_a_run_reads_what_is_missing(
    known: Catalogue, log: Any, wanted: Any, read: list[Any], lost: list[Any]
) -> None:
    """Archived offsets are not read again; deleted ones are reported."""
    plan = catalogue.plan(known, PLACE, Range(*log), Range(*wanted) if wanted else None)
    assert plan == Plan([Range(*one) for one in read], [Range(*one) for one in lost])


def test_a_log_that_ends_before_the_archive_is_another_topic() -> None:
    """Offsets that start over would overwrite what is archived."""
    with pytest.raises(Problem, match=r"\[0\] is not the topic archived here: it ends at"):
        catalogue.plan(covered((0, 4)), PLACE, Range(0, 3))


def test_a_manifest_is_read_as_it_was_written() -> None:
    one = manifest((3, 9), lost=((0, 3),))
    assert decode_manifest("m", encode_manifest(one)) == one


def test_every_byte_of_a_manifest_counts() -> None:
    """A change of any byte makes the manifest invalid; the error names it."""
    data = encode_manifest(manifest((3, 9)))
    for at in range(len(data) - 1):  # the last is a line's end
        spoiled = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(Problem, match=r"^the-name "):
            decode_manifest("the-name", spoiled)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not an archive manifest"),
        (b"{", "is not an archive manifest"),
        (b"[]", "is not an archive manifest"),
        (b"\xff\xfe", "is not an archive manifest"),
        (b"[" * 100_000, "is not an archive manifest"),
        (b'{"sha256": "", "manifest": {}}', "is damaged"),
    ],
)
def test_an_invalid_manifest_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(Problem, match=f"^the-name {sentence}"):
        decode_manifest("the-name", data)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "has the format 2"),
        ({"files": [{"path": "../../elsewhere.parquet"}]}, "is not an archive manifest"),
    ],
)
def test_an_unknown_manifest_is_refused(change: dict[str, Any], sentence: str) -> None:
    """A later format, or a file that lies outside of the archive."""
    body = msgspec.to_builtins(manifest((3, 9)))
    files = [body["files"][0] | one for one in change.pop("files", [{}])]
    altered = msgspec.json.encode(body | change | {"files": files})
    sealed = {
        "sha256": sha256(altered).hexdigest(),
        "manifest": msgspec.Raw(altered),
    }
    with pytest.raises(Problem, match=sentence):
        decode_manifest("m", msgspec.json.encode(sealed))


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        (None, None, (0, 20)),
        (3 * DAY, 4 * DAY, (0, 10)),
        (9 * DAY, 10 * DAY, (0, 10)),
        (10 * DAY, 11 * DAY, (10, 20)),
        (9 * DAY, 11 * DAY, (0, 20)),
    ],
)
def test_a_range_of_time_is_that_of_its_files(since: Any, until: Any, wanted: Any) -> None:
    """The range has whole files: each record's own time is checked later."""
    known = covered((0, 10), (10, 20))
    assert known.by_time([TOPIC], since, until) == {PLACE: Range(*wanted)}


@pytest.mark.parametrize(
    ("known", "topic", "since", "until", "sentence"),
    [
        (
            covered((0, 10)),
            TOPIC,
            10 * DAY,
            None,
            "no body received in that range; there is: .* 0 to 9",
        ),
        (covered((0, 10)), "other.raw.whapi", None, None, f"there is: {TOPIC} .BLUETICK_NAMESPACE"),
        (HOLED, TOPIC, None, None, HOLE),
        # A hole at the range's beginning, at its end, and all around it.
        (HOLED, TOPIC, 5 * DAY, None, HOLE),
        (HOLED, TOPIC, None, 5 * DAY, HOLE),
        (HOLED, TOPIC, 5 * DAY, 5 * DAY + 1, HOLE),
        (HOLED, TOPIC, 3 * DAY, 3 * DAY + 1, HOLE),
        (covered((0, 4), lost=((4, 6),)), TOPIC, 5 * DAY, None, HOLE),
        (
            covered((5, 9)),
            TOPIC,
            4 * DAY,
            None,
            "does not reach back to 1970-01-05.* begins with offset 5",
        ),
        (
            covered((0, 10)),
            TOPIC,
            8 * DAY,
            9 * DAY + 2,
            "ends before 1970-01-10.*the end out",
        ),
    ],
)
def test_a_range_that_is_not_archived_is_refused(
    known: Catalogue, topic: str, since: int | None, until: int | None, sentence: str
) -> None:
    """Gaps, and times before its start or after its end, are not treated as empty."""
    with pytest.raises(Problem, match=sentence):
        known.by_time([topic], since, until)


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [(6 * DAY, None, (6, 9)), (None, 3 * DAY, (0, 4)), (7 * DAY, 8 * DAY + 1, (6, 9))],
)
def test_a_gap_outside_of_the_range_is_ignored(since: Any, until: Any, wanted: Any) -> None:
    """The times next to the gap show that it has no record of the range."""
    assert HOLED.by_time([TOPIC], since, until) == {PLACE: Range(*wanted)}


@pytest.mark.parametrize(
    ("known", "gaps"),
    [
        (covered(), []),
        (covered((2, 9)), []),
        (covered((2, 4), (3, 9)), []),
        (covered((2, 4), (6, 9), (20, 21)), [(4, 6), (9, 20)]),
        (covered((6, 9), lost=((4, 6), (9, 12))), [(4, 6), (9, 12)]),
    ],
)
def test_gaps_are_missing_offsets_in_between(known: Catalogue, gaps: list[Any]) -> None:
    """A reported loss at either end is a gap too."""
    assert known.gaps(PLACE) == [Range(*gap) for gap in gaps]


def test_missing_offsets_are_named() -> None:
    with pytest.raises(Problem, match=r"lacks the offsets 4-6, 9-12; archive them"):
        covered((0, 4), (6, 9)).require(PLACE, Range(2, 12))
