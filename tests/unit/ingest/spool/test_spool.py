"""The spool's file, slots and quota: bodies are on the disk, and damage is detected."""

import asyncio
import errno
import os
import random
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import delivery as durable_module
from ingest.accept_webhook import Rejected
from ingest.delivery import Durable
from ingest.spool import slots
from ingest.spool import spool as spool_module
from ingest.spool.database import (
    FILE,
    MARKER,
    Damaged,
    SpoolFile,
    head_of,
    is_damage,
    look,
    readable,
)
from ingest.spool.quota import Bounds, Held, refusal
from ingest.spool.spool import Spool, Unusable
from schemas.webhook import RawWebhook, Uptime
from service.settings import Settings
from tests.broker.running_ingest import until
from tests.examples import examples

BOUNDS = Bounds(max_bytes=1000, max_age=60)


@pytest.mark.parametrize(
    ("held", "size", "word"),
    [
        (Held(), 1000, None),
        (Held(), 1001, "full"),
        (Held(1, 900, 99_000), 100, None),
        (Held(1, 901, 99_000), 100, "BLUETICK_SPOOL_MAX_BYTES"),
        (Held(1, 1, 40_000), 1, None),
        (Held(1, 1, 39_999), 1, "BLUETICK_SPOOL_MAX_AGE"),
    ],
)
def test_the_quota_of_the_spool(held: Held, size: int, word: str | None) -> None:
    """It accepts bodies up to its bounds exactly; the sentence names the setting."""
    reason = refusal(held, BOUNDS, size=size, now=100_000)
    assert reason is None if word is None else word in str(reason)


def webhook(number: int, body: bytes = b"{}", provider: str = "whapi") -> RawWebhook:
    return RawWebhook(
        id=f"{number:032x}", source=provider, provider=provider, body=body, received_at=number
    )


WEBHOOKS = st.builds(
    RawWebhook,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    source=st.text(max_size=20),
    provider=st.sampled_from(["whapi", "smsmanager"]),
    body=st.binary(max_size=300),
    received_at=st.integers(0, 2**50),
    method=st.sampled_from(["POST", "PUT"]),
    path=st.binary(max_size=30).map(lambda raw: raw.decode("latin-1")),
    content_type=st.binary(max_size=30).map(lambda raw: raw.decode("latin-1")),
    headers=st.dictionaries(
        st.sampled_from(["x-request-id", "user-agent"]),
        st.binary(max_size=30).map(lambda raw: raw.decode("latin-1")),
    ),
    accounts=st.one_of(st.none(), st.lists(st.text(max_size=9), max_size=3).map(tuple)),
)


@given(webhooks=st.lists(WEBHOOKS, max_size=6))
@examples(0.5)  # each commit waits for the disk
def test_webhooks_are_read_as_they_were_stored(
    tmp_path_factory: pytest.TempPathFactory, webhooks: list[RawWebhook]
) -> None:
    """All fields come back, in order, from a file that was closed in between."""
    directory = tmp_path_factory.mktemp("spool")
    file = SpoolFile(directory)
    for each in webhooks:
        file.add([each])
    file.close()
    file = SpoolFile(directory)
    assert [row.webhook for row in file.read(0, 10**6)] == webhooks
    assert file.held().bodies == len(webhooks)
    assert file.held().oldest == min((each.received_at for each in webhooks), default=None)
    file.close()


def test_an_uptime_is_kept_and_other_heads_are_as_before(tmp_path: Path) -> None:
    """A body received before the clocks were compared keeps the machine's uptime."""
    noted = msgspec.structs.replace(webhook(1), uptime=Uptime(12_345, "boot"))
    file = SpoolFile(tmp_path)
    file.add([noted, webhook(2)])
    assert [row.webhook for row in file.read(0, 1000)] == [noted, webhook(2)]
    assert "uptime" not in head_of(webhook(2))
    file.close()


def test_each_commit_is_synced(tmp_path: Path) -> None:
    """The modes in which SQLite syncs before a commit returns (decision 10)."""
    with closing(SpoolFile(tmp_path)) as file:
        modes = [file._db.execute(f"PRAGMA {name}").fetchone()[0] for name in _MODES]
    assert modes == list(_MODES.values())


_MODES = {"journal_mode": "truncate", "synchronous": 2, "locking_mode": "normal"}


def test_a_window_is_at_least_one_body_and_not_many_more_bytes(tmp_path: Path) -> None:
    """A window ends with the body that reaches its size; the next begins after it."""
    file = SpoolFile(tmp_path)
    file.add(webhook(number, b"x" * 100) for number in range(5))
    assert [row.webhook.received_at for row in file.read(0, 1)] == [0]
    first = file.read(0, 250)
    assert [row.webhook.received_at for row in first] == [0, 1, 2]
    assert [row.webhook.received_at for row in file.read(first[-1].seq, 250)] == [3, 4]
    file.close()


def test_only_removed_bodies_are_removed(tmp_path: Path) -> None:
    """Removed bodies are not counted; the marker is removed with the last one."""
    file = SpoolFile(tmp_path)
    file.add([webhook(1), webhook(2, provider="smsmanager"), webhook(3)])
    rows = file.read(0, 10**6)
    file.remove(rows[:1])
    assert file.held().bodies == 2
    assert {name: one.bodies for name, one in look(file.path).items()} == {
        "whapi": 1,
        "smsmanager": 1,
    }
    assert (tmp_path / MARKER).exists()
    file.remove(rows)
    assert (file.held(), look(file.path)) == (Held(), {})
    assert not (tmp_path / MARKER).exists()
    file.close()


def test_rows_of_another_file_are_not_removed(tmp_path: Path) -> None:
    """Rows read from a file that was set aside remove nothing from the new file."""
    file = SpoolFile(tmp_path)
    file.add([webhook(1)])
    rows = file.read(0, 1)
    file.close()
    file.path.unlink()
    (tmp_path / MARKER).unlink()
    with closing(SpoolFile(tmp_path)) as file:
        file.add([webhook(2)])
        assert [row.seq for row in rows] == [row.seq for row in file.read(0, 1)]
        file.remove(rows)
        assert file.held().bodies == 1


def test_an_emptied_file_is_shrunk(tmp_path: Path) -> None:
    """After an outage the disk space is free again, while the file stays."""
    file = SpoolFile(tmp_path)
    file.add(webhook(number, os.urandom(900_000)) for number in range(4))
    assert file.path.stat().st_size > 3_000_000
    file.remove(file.read(0, 10**8))
    assert file.path.stat().st_size < 100_000
    file.close()
    SpoolFile(tmp_path).close()


def _cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def _flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def _execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda path: _cut(path, 0), "empty or missing"),
        (Path.unlink, "empty or missing"),
        (lambda path: _cut(path, 8192), ""),
        (lambda path: _cut(path, 100), ""),
        (lambda path: path.write_bytes(b"not a database" * 999), ""),
        (lambda path: _flip(path, 20), ""),
        (lambda path: _flip(path, 4096 + 3), ""),
        (lambda path: _execute(path, "PRAGMA user_version = 2"), "version 2"),
        (lambda path: _execute(path, "PRAGMA application_id = 1"), "not a spool file"),
        (lambda path: _execute(path, "DROP TABLE held"), ""),
        (lambda path: _execute(path, "UPDATE held SET bodies = 5"), "count is 5"),
    ],
)
def test_damage_is_detected_at_the_start(
    tmp_path: Path, spoil: Callable[[Path], None], word: str
) -> None:
    """A damaged file is never mistaken for an intact or an empty one."""
    file = SpoolFile(tmp_path)
    file.add(webhook(number, os.urandom(3000)) for number in range(20))
    file.close()
    spoil(file.path)
    with pytest.raises((Damaged, sqlite3.Error)) as caught:
        SpoolFile(tmp_path)
    assert is_damage(caught.value)
    assert word in str(caught.value)


def test_an_emptied_file_with_a_marker_is_not_damaged(tmp_path: Path) -> None:
    """A crash between the last removal and that of the marker is not a loss."""
    file = SpoolFile(tmp_path)
    file.add([webhook(1)])
    file.remove(file.read(0, 1))
    file.close()
    (tmp_path / MARKER).touch()
    with closing(SpoolFile(tmp_path)) as file:
        assert not (tmp_path / MARKER).exists(), "or the slot would always count as holding bodies"
        file.add([])
        assert not (tmp_path / MARKER).exists()


def test_a_changed_body_is_detected_when_read(tmp_path: Path) -> None:
    """The checksum detects a flipped bit inside a body, which SQLite does not."""
    file = SpoolFile(tmp_path)
    file.add([webhook(1), webhook(2, b"a body to be found" * 3), webhook(3)])
    file.close()
    _flip(file.path, file.path.read_bytes().index(b"a body to be found"))
    file = SpoolFile(tmp_path)
    with pytest.raises(Damaged, match="body 2"):
        file.read(0, 10**6)
    file.close()
    assert [row.webhook.received_at for row in readable(file.path)] == [1, 3]


def test_bodies_around_the_damage_are_read(tmp_path: Path) -> None:
    """With one damaged page in the middle, nearly all bodies before and after it are read."""
    file = SpoolFile(tmp_path)
    file.add(webhook(number, os.urandom(500)) for number in range(1000))
    file.close()
    content = bytearray(file.path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = os.urandom(4096)
    file.path.write_bytes(content)
    found = [row.webhook.received_at for row in readable(file.path)]
    assert found == sorted(set(found))
    assert {0, 999} <= set(found)
    assert 950 < len(found) < 1000


def test_a_wrong_count_is_damage(tmp_path: Path) -> None:
    """A drain that reads no rows does not wait forever for counted bodies."""
    with closing(SpoolFile(tmp_path)) as file:
        file.add([webhook(1)])
        _execute(file.path, "UPDATE held SET bodies = 2")
        file.remove(file.read(0, 1))
        with pytest.raises(Damaged, match="no bodies, but its count is 1"):
            file.read(0, 1)


def test_a_body_that_was_read_and_is_missing_is_damage(tmp_path: Path) -> None:
    """It would be sent to Kafka repeatedly. A body that was removed before is not damage."""
    with closing(SpoolFile(tmp_path)) as file:
        file.add([webhook(1), webhook(2)])
        rows = file.read(0, 10**6)
        file.remove(rows[:1])
        file.remove(rows[:1])
        _execute(file.path, "DELETE FROM webhooks")
        with pytest.raises(Damaged, match="is missing"):
            file.remove(rows)


def test_the_first_of_each_provider(tmp_path: Path) -> None:
    """The oldest remaining body of each provider that has any."""
    with closing(SpoolFile(tmp_path)) as file:
        assert file.first_of_each() == []
        file.add([webhook(1), webhook(2), webhook(3, provider="smsmanager"), webhook(4)])
        file.remove(file.read(0, 1)[:1])
        assert {row.webhook.received_at for row in file.first_of_each()} == {2, 3}


def test_a_file_removed_while_in_use_is_detected(tmp_path: Path) -> None:
    """Data in an unlinked file would be lost at the end, so this counts as damage."""
    file = SpoolFile(tmp_path)
    file.add([webhook(1)])
    file.path.unlink()
    with pytest.raises(sqlite3.Error) as caught:
        file.add([webhook(2)])
    assert is_damage(caught.value)
    file.close()


@contextmanager
def _small_disk(directory: Path) -> Iterator[None]:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(directory)], check=False
    )
    if made.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def _small_files(_: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [_small_disk, _small_files])
def test_a_full_disk_stores_no_partial_group(
    tmp_path: Path, limit: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """A group that does not fit is refused whole; stored bodies stay and can be removed."""
    with limit(tmp_path), closing(SpoolFile(tmp_path)) as file:
        groups, error = 0, None
        while error is None:
            try:
                file.add(webhook(groups, os.urandom(10_000)) for _ in range(2))
                groups += 1
            except sqlite3.Error as full:
                error = full
        assert not is_damage(error)
        assert file.held().bodies == groups * 2 > 0
        rows = file.read(0, 10**8)
        assert len(rows) == groups * 2
        file.remove(rows)
        assert file.held() == Held()
        file.add([webhook(0)])


def test_each_process_has_its_own_slot(tmp_path: Path) -> None:
    """The first free number is used; a released one is used again."""
    first, second = slots.acquire(tmp_path), slots.acquire(tmp_path)
    assert [first.directory.name, second.directory.name] == ["0", "1"]
    assert slots.in_use(first.directory)
    first.release()
    assert not slots.in_use(first.directory)
    assert slots.acquire(tmp_path).directory.name == "0"
    assert slots.known(tmp_path) == [tmp_path / "0", tmp_path / "1"]


def test_only_free_slots_with_bodies_are_taken_over(tmp_path: Path) -> None:
    """Slots in use and empty ones are ignored; a damaged file counts as bodies."""
    used, free, damaged, empty = (slots.acquire(tmp_path) for _ in range(4))
    for slot in (used, free):
        SpoolFile(slot.directory).add([webhook(1)])
    (damaged.directory / f"{FILE}.damaged-1").touch()
    for slot in (free, damaged, empty):
        slot.release()
    (empty.directory / f"{FILE}.damaged-1-journal").touch()
    assert slots.holding(tmp_path) == ["0", "1", "2"]
    found = [slots.take_over(directory) for directory in slots.known(tmp_path)]
    assert [slot and slot.directory for slot in found] == [
        *(None, free.directory, damaged.directory, None)
    ]


async def test_an_unreadable_slot_is_logged_and_does_not_hide_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unreadable slot may hold bodies; ingest logs it and tries the next one."""
    for slot in [slots.acquire(tmp_path) for _ in range(3)]:
        slot.release()
    (tmp_path / "2" / MARKER).touch()
    unreadable, listed = tmp_path / "1", Path.iterdir

    def readable_only(path: Path) -> Iterator[Path]:
        if path == unreadable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", readable_only)
    durable = Durable(Settings())
    await durable._try_slots(tmp_path)
    assert f"the bodies in {unreadable} cannot be reached (Permission denied)" in caplog.text
    assert f"a dead process left bodies in {tmp_path / '2'};" in caplog.text
    assert durable.given_up == 1


async def test_a_spool_that_cannot_be_listed_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise bodies of dead processes would wait in it without a log line."""
    await Durable(Settings())._try_slots(tmp_path / "gone")
    assert f"the spool {tmp_path / 'gone'} cannot be listed (No such file" in caplog.text


def test_a_changed_head_is_detected(tmp_path: Path) -> None:
    """The checksum covers the headers and the path as well as the body."""
    file = SpoolFile(tmp_path)
    file.add([msgspec.structs.replace(webhook(1), path="/mark-to-be-found")])
    file.close()
    _flip(file.path, file.path.read_bytes().index(b"mark-to-be-found"))
    assert list(readable(file.path)) == []


def test_each_flipped_bit_is_detected_and_reading_continues(tmp_path: Path) -> None:
    """Any error a flipped bit causes counts as damage, and only stored webhooks are read."""
    whole = SpoolFile(tmp_path)
    bodies = [webhook(number) for number in range(12)]
    whole.add(bodies)
    whole.close()
    content = whole.path.read_bytes()
    offsets = [number for number, byte in enumerate(content) if byte]
    chance = random.Random(12)
    for offset in chance.sample(offsets, 100):
        flipped = bytearray(content)
        flipped[offset] ^= 1 << chance.randrange(8)
        whole.path.write_bytes(flipped)
        raised = None
        try:
            with closing(SpoolFile(tmp_path)) as file:
                assert {row.webhook.id for row in file.read(0, 10**6)} <= {
                    each.id for each in bodies
                }
        except Exception as error:  # noqa: BLE001 - any is possible
            raised = error
        assert raised is None or is_damage(raised), offset
        assert all(row.webhook in bodies for row in readable(whole.path)), offset


@pytest.mark.parametrize("value", ["NULL", "7", "'text'", "1.5"])
@pytest.mark.parametrize("column", ["head", "body", "sha256"])
def test_a_value_of_another_type_is_damage(tmp_path: Path, column: str, value: str) -> None:
    """A row with changed types is detected like one with changed bytes; others are read."""
    file = SpoolFile(tmp_path)
    file.add(webhook(number) for number in range(3))
    file.close()
    with closing(sqlite3.connect(file.path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, 'BLOB NOT NULL', 'BLOB')")
    _execute(file.path, f"UPDATE webhooks SET {column} = {value} WHERE received_at = 1")
    with closing(SpoolFile(tmp_path)) as found, pytest.raises(Damaged, match="types"):
        found.read(0, 10**6)
    assert [row.webhook.received_at for row in readable(file.path)] == [0, 2]


def _own(directory: Path) -> Spool:
    return Spool(
        slots.acquire(directory), Bounds(10**9, 10**6), max_waiting=10, max_waiting_bytes=10**6
    )


async def test_a_spool_starts_after_any_damage(tmp_path: Path) -> None:
    """A schema that is not text raises a Python error, not SQLite's; the file is set aside too."""
    spool = _own(tmp_path)
    file = SpoolFile(spool.directory)
    file.add([webhook(1)])
    file.close()
    _flip(file.path, file.path.read_bytes().index(b"webhooks_by_age"))
    async with asyncio.timeout(30):
        await spool.start()
        assert spool.set_aside == 1
        await spool.put(webhook(2))
    await spool.close(1)


async def test_an_interrupted_rescue_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each body of a damaged file is copied once, as soon as the new file can be written."""
    monkeypatch.setattr(spool_module, "RESCUE_PAUSE_SECONDS", 0.1)
    spool = _own(tmp_path)
    file = SpoolFile(spool.directory)
    file.add(webhook(number) for number in range(3))
    file.close()
    file.path.rename(spool.directory / f"{FILE}.damaged-1")
    (spool.directory / MARKER).unlink()
    SpoolFile(spool.directory).close()
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await spool.start()
        assert spool.held.bodies == 0
        other.execute("ROLLBACK")
    async with asyncio.timeout(30):
        await spool.filled()
    assert spool.held.bodies == 3
    await spool.close(5)


async def _usable(spool: Spool) -> bool:
    return spool.unusable is None


async def test_a_full_disk_is_reported_until_it_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A successful read does not clear the error; the disk test does, without a body."""
    monkeypatch.setattr(durable_module, "DISK_TEST_SECONDS", 0.05)
    spool, durable = _own(tmp_path), Durable(Settings())
    await spool.start()
    trial = spool.directory / "trial"
    trial.mkdir()  # it cannot be written
    with closing(sqlite3.connect(spool.directory / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Rejected, match="not-durable"):
            await spool.put(webhook(1))
        other.execute("ROLLBACK")
    await spool.read(0, 1)
    assert "cannot be written (database is locked)" in (spool.unusable or "")
    with pytest.raises(Unusable, match="Is a directory"):
        await spool.try_disk(1)
    trial.rmdir()
    trying = asyncio.create_task(durable._test_disk(spool))
    try:
        await until(lambda: _usable(spool))
    finally:
        durable._closing.set()
        await trying
    assert not trial.exists()
    await spool.close(5)


async def test_the_thread_continues_after_any_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error while a file is set aside is logged; the body is refused, the next one stored."""
    spool, set_aside = _own(tmp_path), Spool._set_aside_file
    failures = iter([RuntimeError("canary-of-a-body")])

    def failing(self: Spool, error: Exception) -> str:
        for failure in failures:
            raise failure
        return set_aside(self, error)

    monkeypatch.setattr(Spool, "_set_aside_file", failing)
    async with asyncio.timeout(30):
        await spool.start()
        (spool.directory / FILE).unlink()
        for _ in range(2):
            with pytest.raises(Rejected, match="not-durable"):
                await spool.put(webhook(1))
        await spool.put(webhook(2))
    assert f"the spool in {spool.directory} failed (RuntimeError, spool.py:" in caplog.text
    assert "canary-of-a-body" not in caplog.text
    await spool.close(5)
