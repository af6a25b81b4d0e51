"""Records in files, read back byte for byte; every kind of damage is found before a read."""

import itertools
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.archive import parquet as files
from processors.archive import reader, verify
from processors.archive.catalogue import MANIFESTS, File, decode_manifest, encode_manifest
from processors.archive.storage import Storage
from processors.runtime.offset_ranges import Span, Window
from processors.runtime.raw_record import RawRecord
from service.errors import Problem
from tests.examples import examples
from tests.unit.processors.archive.archives import (
    BEGAN,
    HOUR,
    TOPIC,
    archive,
    offsets,
    record,
    write,
)

HEADERS: st.SearchStrategy[Any] = st.lists(
    st.tuples(st.sampled_from(["ce_id", "x", "", "ž"]), st.none() | st.binary(max_size=9)),
    max_size=4,
)
BODIES = st.none() | st.binary(max_size=40) | st.just(b"\0\xff" * 460_800)  # 900 KiB
TIMES = st.integers(-1, 2**41) | st.sampled_from([0, BEGAN, 253_402_300_800_000])


@st.composite
def partitions(draw: st.DrawFn) -> list[RawRecord]:
    """Records of one partition; offsets may be missing between them."""
    steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    return [
        RawRecord(TOPIC, 3, offset, draw(TIMES), draw(HEADERS), draw(BODIES))
        for offset in itertools.accumulate(steps)
    ]


async def _all(archived: reader.Archive, wanted: list[Span]) -> list[RawRecord]:
    return [one async for batch in archived.read(wanted) for one in batch.records]


async def _opened_and_verified(storage: Storage) -> None:
    archived = await reader.opened(storage.url)
    await archived.verify(archived.by_time([TOPIC], Window()))


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty storage: a directory, or another file system of fsspec."""
    url = f"{tmp_path}/a b" if request.param == "file" else f"memory:/{tmp_path}"
    return Storage(url)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of 10 rows, read 7 at a time, and files of 40, for tests that need many."""
    monkeypatch.setattr(files, "_SLICE", 7)
    monkeypatch.setattr(files, "GROUP_ROWS", 10)
    monkeypatch.setattr(files, "FILE_ROWS", 40)


@given(partitions())
@examples(0.5)
async def test_records_are_read_as_they_were_written(records: list[RawRecord]) -> None:
    """Nulls, empty bodies, any bytes, repeated names, 900 KiB, times beyond the calendar."""
    storage = Storage(f"memory://{token_hex(8)}")
    archive(storage, records)
    archived = await reader.opened(storage.url)
    wanted = archived.by_time([TOPIC], Window())
    await archived.verify(wanted)

    assert await _all(archived, wanted) == records


@given(st.lists(st.integers(0, 100), max_size=5).map(sorted), st.integers(1, 101))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_records_are_the_same_bytes(small: None, cuts: list[int], end: int) -> None:
    """The polls do not matter: two concurrent runs write the same file under the same name."""
    del small
    cuts = [min(cut, end) for cut in cuts]
    records = [record(n) for n in range(end)]
    a, b = Storage(f"memory://{token_hex(8)}"), Storage(f"memory://{token_hex(8)}")

    assert write(a, records, *cuts).files == write(b, records).files


async def test_files_are_bounded_and_lie_by_day(small: None, storage: Storage) -> None:
    """A file ends at its row limit; a spooled body is in the file of its own day."""
    del small
    records = [record(n, BEGAN - 23 * HOUR * (n % 3 == 0)) for n in range(100)]
    made = archive(storage, records)

    assert [(file.path, file.rows) for file in made.files] == [
        (f"provider=whapi/day=2023-11-14/{TOPIC}-0-1-59.parquet", 40),
        (f"provider=whapi/day=2023-11-14/{TOPIC}-0-61-98.parquet", 26),
        (f"provider=whapi/day=2023-11-13/{TOPIC}-0-0-99.parquet", 34),
    ]
    archived = await reader.opened(storage.url)
    assert await _all(archived, archived.by_time([TOPIC], Window())) == records
    assert offsets(await _all(archived, [Span(TOPIC, 0, 55, 63)])) == list(range(55, 63))


def test_many_days_at_once_keep_few_files_open(storage: Storage) -> None:
    """Unordered times cost files, not memory."""
    records = [record(n, BEGAN + (n % 9) * 24 * HOUR) for n in range(30)]
    writer = files.Writer(storage, "whapi", (TOPIC, 0))
    for one in records:
        writer.add([one])
        assert len(writer._open) <= files.MOST_OPEN
    writer.close()

    found = [one for file in writer.files for one in files.records(storage, file)]
    assert sorted(found, key=lambda one: one.offset) == records


async def test_overlapping_runs_are_read_once(storage: Storage) -> None:
    """Two runs that archived the same offsets give each record once."""
    records = [record(n) for n in range(100)]
    archive(storage, records[:60])
    archive(storage, records[40:])
    archive(storage, records[:60])
    archived = await reader.opened(storage.url)

    batches = [batch async for batch in archived.read(archived.by_time([TOPIC], Window()))]
    assert [one for batch in batches for one in batch.records] == records
    assert batches[-1].reached == {(TOPIC, 0): 100}


async def test_partitions_advance_together(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts of one message lie on any partition: records are read roughly by time."""
    monkeypatch.setattr(reader, "_CHUNK", 5)
    archive(storage, *[[record(n, partition=p) for n in range(50)] for p in range(3)])
    archived = await reader.opened(storage.url)

    read = await _all(archived, archived.by_time([TOPIC], Window()))
    assert len(read) == 150
    assert all(abs(one.offset - n // 3) <= 5 for n, one in enumerate(read))


async def test_files_of_two_topics_with_one_name_are_refused(storage: Storage) -> None:
    """If two files differ at an offset, neither is used."""
    archive(storage, [record(n) for n in range(9)])
    archive(storage, [record(n, body=b"[]") for n in range(4, 12)])
    archived = await reader.opened(storage.url)

    with pytest.raises(Problem, match=r"disagree on offset 4 of bluetick.raw.whapi\[0\]"):
        await _all(archived, archived.by_time([TOPIC], Window()))


@dataclass(frozen=True)
class Made:
    """An archive on disk with one file, and its path."""

    storage: Storage
    root: Path
    file: File

    @property
    def parquet(self) -> Path:
        return self.root / self.file.path

    @property
    def manifest(self) -> Path:
        return next((self.root / MANIFESTS).iterdir())


@pytest.fixture
def made(tmp_path: Path) -> Made:
    storage = Storage(str(tmp_path))
    records = [record(n, body=b"%d" % n * 30) for n in range(300)]
    return Made(storage, tmp_path, archive(storage, records).files[0])


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _make_directory(made: Made) -> None:
    made.parquet.unlink()
    made.parquet.mkdir()


DAMAGE: dict[str, tuple[Callable[[Made], Any], str]] = {
    "first byte": (lambda made: _flip(made.parquet, 0), r"\.parquet is damaged: its checksum"),
    "a byte": (lambda made: _flip(made.parquet, 999), r"\.parquet is damaged: its checksum"),
    "last byte": (lambda made: _flip(made.parquet, -1), r"\.parquet is damaged: its checksum"),
    "truncated": (
        lambda made: made.parquet.write_bytes(made.parquet.read_bytes()[:-9]),
        r"\.parquet is damaged: it has \d+ bytes, not \d+",
    ),
    "empty": (lambda made: made.parquet.write_bytes(b""), r"\.parquet is damaged: it has 0 bytes"),
    "missing": (lambda made: made.parquet.unlink(), r"\.parquet cannot be read: it is not there"),
    "a directory": (
        _make_directory,
        r"\.parquet cannot be read: Is a directory",
    ),
    "no JSON": (
        lambda made: made.manifest.write_bytes(b"PAR1"),
        r"\.json is not an archive manifest",
    ),
    "a digit": (
        lambda made: made.manifest.write_bytes(made.manifest.read_bytes().replace(b"300", b"900")),
        r"\.json is damaged: its checksum",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
async def test_damage_is_found_before_records_are_read(made: Made, kind: str) -> None:
    """One sentence that names the file; `verify` finds the same."""
    spoil, sentence = DAMAGE[kind]
    spoil(made)

    with pytest.raises(Problem, match=sentence):
        await _opened_and_verified(made.storage)
    found = verify.verify(made.storage, lambda *_: None)
    troubles = [*found.troubles, *(sentence for one in found.held for sentence in one.troubles)]
    assert not found.sound
    assert found.unnamed == []  # a damaged manifest does not name its files
    assert len(troubles) == 1
    with pytest.raises(Problem, match=sentence):
        raise Problem(troubles[0])


def test_a_byte_that_flips_after_the_check_gives_no_other_record(made: Made) -> None:
    """Pages and bodies have checksums; a change outside of them does no harm."""
    places = range(4, made.file.size - 8, max(1, made.file.size // 60))
    found = 0
    for at in places:
        _flip(made.parquet, at)
        try:
            read = list(files.records(made.storage, made.file))
        except Problem:
            found += 1
        else:
            assert read == [record(n, body=b"%d" % n * 30) for n in range(300)]
        _flip(made.parquet, at)
    assert found > len(places) / 2


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("body", b"another", "the body at offset 7 is not"),
        ("sha256", None, "the body at offset 7 is not"),
        ("offset", 3, "offset 3 is out of place"),
        ("offset", 300, "offset 300 is out of place"),
        ("partition", 1, "offset 7 is out of place"),
        ("topic", "bluetick.raw.other", "offset 7 is out of place"),
    ],
)
def test_rows_are_checked_one_by_one(made: Made, column: str, value: Any, sentence: str) -> None:
    """A file with valid pages is refused if a row is invalid."""
    table = pq.read_table(made.parquet)
    values = table.column(column).to_pylist()
    values[7] = value
    at = files.SCHEMA.get_field_index(column)
    field = files.SCHEMA.field(column)
    altered = table.set_column(at, field, pa.array(values, field.type))
    pq.write_table(altered.cast(files.SCHEMA), made.parquet)

    with pytest.raises(Problem, match=sentence):
        list(files.records(made.storage, made.file))


def test_other_columns_are_refused(made: Made) -> None:
    pq.write_table(pq.read_table(made.parquet).drop_columns("sha256"), made.parquet)
    with pytest.raises(Problem, match="its columns are not those of an archive"):
        list(files.records(made.storage, made.file))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rows": 301}, ["bluetick.raw.whapi[0]: 300 records were read, and its files have 301"]),
        ({"until": BEGAN + 1}, []),
    ],
)
def test_a_manifest_that_differs_from_its_files_is_found(
    made: Made, change: dict[str, Any], sentence: list[str]
) -> None:
    """Records that are in no file, and files with other records, are found."""
    manifest = decode_manifest("m", made.manifest.read_bytes())
    altered = replace(manifest, files=[replace(made.file, **change)])
    made.manifest.write_bytes(encode_manifest(altered))

    found = verify.verify(made.storage, lambda *_: None)
    [troubles] = [one.troubles for one in found.held]
    assert [one for one in troubles if "does not hold the records its manifest names" in one]
    assert [one.partition(": ")[2] for one in found.troubles] == sentence


def test_verify_finds_a_gap(made: Made) -> None:
    """An archive with complete files may still lack offsets."""
    archive(made.storage, [record(n) for n in range(305, 310)])
    [held] = verify.verify(made.storage, lambda *_: None).held
    assert held.troubles == [
        "bluetick.raw.whapi[0] lacks the offsets 300-305: they were never archived"
    ]
    assert (held.first, held.last, held.records, held.files) == (0, 309, 305, 2)


def test_an_interrupted_run_leaves_nothing_to_read(made: Made) -> None:
    """Files without a manifest are not read; `verify` names them."""
    write(made.storage, [record(n) for n in range(300, 400)])
    part = made.storage.writing(made.file.path)
    part.write(b"PAR1")

    assert reader.catalogue(made.storage).files == [made.file]
    found = verify.verify(made.storage, lambda *_: None)
    assert found.sound
    assert len(found.unnamed) == 2
    part.drop()


def test_a_failed_file_is_not_kept(made: Made) -> None:
    """An unfinished file is deleted, and never has its final name."""
    before = made.storage.names()
    writer = files.Writer(made.storage, "whapi", (TOPIC, 0))
    writer.add([record(300)])
    assert len(made.storage.names()) == len(before) + 1
    writer.abandon()
    assert made.storage.names() == before


def test_a_full_disk_leaves_no_incomplete_file(tmp_path: Path) -> None:
    """Closing cannot write the buffered bytes either; all files are deleted."""
    storage = Storage(str(tmp_path))
    writer = files.Writer(storage, "whapi", (TOPIC, 0))
    writer.add([record(1), record(2, BEGAN + 24 * HOUR)])
    assert len(storage.names()) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(Problem, match=r"\.part cannot be written: "):
            writer.close()
        writer.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert storage.names() == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nothing://here", "cannot be at nothing://here: Protocol not known"),
        ("", "the archive's URL is empty; name a directory"),
        ("file://srv/archive", "srv is in the position of a host name; write file:///srv/archive"),
        ("{tmp}/empty", r"there is no archive at file://.*/empty: it has no manifest"),
        ("memory://empty", "there is no archive at memory:///empty"),
        ("s3://key:secret@bucket/a", "holds a user, a password or a query"),
        ("https://host/a?sig=secret", "holds a user, a password or a query"),
        ("simplecache::s3://key:secret@bucket", "holds a user, a password or a query"),
    ],
)
async def test_unusable_urls(url: str, sentence: str, tmp_path: Path) -> None:
    """The error is one sentence without a secret."""
    with pytest.raises(Problem, match=sentence) as raised:
        await reader.opened(url.replace("{tmp}", str(tmp_path)))
    assert "secret" not in str(raised.value)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The path of the directory is a file."""
    (tmp_path / "there").write_text("a file")
    with pytest.raises(Problem, match=r"at file:.*/there: that is a file; name a directory"):
        write(Storage(f"{tmp_path}/there"), [record(1)])
    assert (tmp_path / "there").read_text() == "a file"
