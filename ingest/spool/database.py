"""One file of the spool: webhooks in SQLite, synced to the disk before a commit returns.

It uses a rollback journal instead of a WAL. SQLite reads a damaged WAL as a shorter one and drops
its last commits silently, while damage to the file itself is detected (decision 10).
"""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from ingest.spool.quota import Held
from schemas.webhook import RawWebhook, Uptime
from service.fsync import fsync

FILE = "spool.db"

# Exists next to the file while the file holds bodies, so that a truncated or removed file is not
# mistaken for one that has never held any.
MARKER = "holding"

APPLICATION = 0x626C7370  # "blsp", for file(1) and Bluetick
VERSION = 1

_SCHEMA = """
BEGIN;
CREATE TABLE webhooks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, received_at INTEGER NOT NULL,
    bytes INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL, sha256 BLOB NOT NULL);
CREATE INDEX webhooks_by_age ON webhooks (received_at);
CREATE TABLE held (provider TEXT PRIMARY KEY, bodies INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TRIGGER taken AFTER INSERT ON webhooks BEGIN
    INSERT INTO held VALUES (new.provider, 1, new.bytes) ON CONFLICT (provider)
        DO UPDATE SET bodies = bodies + 1, bytes = bytes + new.bytes; END;
CREATE TRIGGER gone AFTER DELETE ON webhooks BEGIN
    UPDATE held SET bodies = bodies - 1, bytes = bytes - old.bytes WHERE provider = old.provider;
    END;
PRAGMA application_id = %d;
PRAGMA user_version = %d;
COMMIT;
"""

_ROWS = "SELECT seq, head, body, sha256 FROM webhooks"
_AT_A_TIME = 500

# The write and read versions in the file's header: any SQLite, with a rollback journal.
_FORMAT = b"\x01\x01"

# How long to wait for a lock: a process that inspects the spool holds it for a millisecond.
_BUSY_SECONDS = 0.3
_LONG_BUSY_SECONDS = 5.0
_ROWS_AT_A_TIME = 50

_REMOVE = "DELETE FROM webhooks WHERE seq = ? AND sha256 = ?"

# On a full disk even a removal needs space for its journal; this file is deleted to free some.
_ROOM = "room"
_ROOM_BYTES = 256 * 1024

# Written and removed to test whether the disk accepts data again.
_TEST_FILE = "trial"

# An empty spool file larger than this is shrunk.
_KEPT_BYTES = 1024 * 1024

# SQLite's errors when the disk is full or the file cannot be written: its contents are unchanged.
# Every other error is treated as damage.
_UNWRITABLE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}
_PRIMARY = 0xFF


class Damaged(Exception):
    """The file differs from the data that was written; the text describes the evidence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One webhook of a spool file, its checksum verified; rows are numbered in order of arrival."""

    seq: int
    sum: bytes
    webhook: RawWebhook


class SpoolFile:
    """The spool file of a directory, created if it does not exist; for one thread.

    Its methods raise `Damaged`, or `sqlite3.Error` or `OSError` if the disk refuses an operation.
    A method that raises has changed nothing.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self._marker = directory / MARKER
        self._room = directory / _ROOM
        self._read: set[tuple[int, bytes]] = set()
        begun = self.path.exists() and self.path.stat().st_size > 0
        if self._marker.exists() and not begun:
            raise Damaged("it held bodies, but is empty or missing")
        self._db = _connect(self.path, "rwc")
        try:
            # TRUNCATE with FULL syncs the file, and then the truncation of the journal.
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
            self._db.execute("PRAGMA synchronous = FULL")
            if begun:
                _check_format(self.path)
                _check(self._db)
            else:
                self._db.executescript(_SCHEMA % (APPLICATION, VERSION))
                fsync(directory)
            if not self.held().bodies:  # left by a failed commit, or a crash after the last removal
                self._marker.unlink(missing_ok=True)
            self._holding = self._marker.exists()
            self._keep_room()
        except BaseException:
            self.close()
            raise

    def add(self, webhooks: Iterable[RawWebhook]) -> None:
        """Store webhooks, all or none; once this returns they are on the disk."""
        rows = [_to_row(webhook) for webhook in webhooks]
        if not rows:
            return
        if not self._holding:
            self._marker.touch()
            fsync(self._marker)
            fsync(self._marker.parent)
            self._holding = True
        self._commit(
            "INSERT INTO webhooks (provider, received_at, bytes, head, body, sha256)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )

    def remove(self, rows: Iterable[Row]) -> None:
        """Remove webhooks that are stored elsewhere now, also on a full disk.

        Rows that were read from a file that has been set aside since are ignored.
        """
        found = [(row.seq, row.sum) for row in rows]
        try:
            self._remove(found)
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            self._room.unlink(missing_ok=True)
            for each in found:
                self._remove([each])
        if self._holding and not self.held().bodies:
            self._marker.unlink(missing_ok=True)
            self._holding = False
            if self.path.stat().st_size > _KEPT_BYTES:
                self._db.execute("VACUUM")
            self._keep_room()

    def _remove(self, found: list[tuple[int, bytes]]) -> None:
        """Remove rows; raises `Damaged` if a row that was read is missing."""
        self._commit(_REMOVE, found, least=len(self._read.intersection(found)))
        self._read.difference_update(found)

    def read(self, after: int, most: int) -> list[Row]:
        """Return the oldest webhooks after `seq` `after`, up to `most` bytes, but at least one."""
        rows, size = [], 0
        query = f"{_ROWS} WHERE seq > ? ORDER BY seq LIMIT {_AT_A_TIME}"
        with closing(self._db.execute(query, (after,))) as found:
            for found_row in found:
                rows.append(_from_row(found_row))
                size += len(rows[-1].webhook.body)
                if size >= most:
                    break
        if not rows and after == 0 and (counted := self.held().bodies):
            raise Damaged(f"it has no bodies, but its count is {counted}")
        return self._note_read(rows)

    def first_of_each(self) -> list[Row]:
        """Return the oldest webhook of each provider."""
        query = f"{_ROWS} WHERE provider = ? ORDER BY seq LIMIT 1"
        held = self._db.execute("SELECT provider FROM held WHERE bodies > 0").fetchall()
        found = (self._db.execute(query, provider).fetchone() for provider in held)
        return self._note_read([_from_row(row) for row in found])

    def _note_read(self, rows: list[Row]) -> list[Row]:
        self._read = {(row.seq, row.sum) for row in rows}
        return rows

    def held(self) -> Held:
        """Return the contents of the file, for all providers together."""
        return _held(self._db)

    def try_disk(self, size: int) -> None:
        """Test whether the disk accepts `size` bytes; raises `OSError` if not."""
        test_file = self.path.with_name(_TEST_FILE)
        try:
            test_file.write_bytes(bytes(size))
            fsync(test_file)
        finally:
            test_file.unlink(missing_ok=True)

    def close(self) -> None:
        self._db.close()

    def _keep_room(self) -> None:
        """Reserve the disk space that a removal needs; does nothing if the disk is full."""
        with suppress(OSError):
            if not self._room.exists():
                self._room.write_bytes(bytes(_ROOM_BYTES))

    def _commit(self, statement: str, rows: list[Any], least: int = 0) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            _require(self._db.executemany(statement, rows).rowcount, least)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _require(done: int, least: int) -> None:
    if least and done < least:
        raise Damaged("a body that was read is missing")


def is_damage(error: Exception) -> bool:
    """Whether an error means that the file is damaged.

    A flipped bit in the schema or in a row's head may cause any Python error.
    """
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_READONLY_DBMOVED:  # the file was removed while in use
            return True
        return code != sqlite3.SQLITE_IOERR_WRITE and code & _PRIMARY not in _UNWRITABLE
    return not isinstance(error, OSError | MemoryError)


def readable(path: Path) -> Iterator[Row]:
    """Yield the readable rows of a damaged file, in order: before and after the damage."""
    with suppress(Exception), closing(_connect(path, seconds=_LONG_BUSY_SECONDS)) as db:
        last = yield from _up_to_damage(db)
        for seq in _seqs_from_the_end(db, last):
            with suppress(Exception):
                yield _from_row(db.execute(f"{_ROWS} WHERE seq = ?", (seq,)).fetchone())


def look(path: Path) -> dict[str, Held]:
    """Return the contents of a file by provider; raises `sqlite3.Error` if it is unreadable."""
    with closing(_connect(path, seconds=_LONG_BUSY_SECONDS)) as db:
        found = db.execute("SELECT provider, bodies, bytes FROM held WHERE bodies > 0")
        return {
            provider: Held(bodies, size, _oldest(db, provider))
            for provider, bodies, size in found.fetchall()
        }


def _connect(path: Path, mode: str = "rw", seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """Open a file; not read-only, since SQLite first rolls back a commit that a crash cut."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=seconds,
        isolation_level=None,
        check_same_thread=False,  # a cancelled rescue is closed by another thread
    )


def _check_format(path: Path) -> None:
    """Raise `Damaged` if the header makes the file read-only for SQLite."""
    with path.open("rb") as file:
        if file.read(20)[18:] != _FORMAT:
            raise Damaged("its header names another format")


def _check(db: sqlite3.Connection) -> None:
    """Raise `Damaged` unless the file is a whole spool file with as many rows as it counted."""
    [application] = db.execute("PRAGMA application_id").fetchone()
    [version] = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise Damaged("it is not a spool file of Bluetick")
    if version != VERSION:
        raise Damaged(
            f"it has version {version} of the schema, and this Bluetick supports {VERSION}"
        )
    [verdict] = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(f"SQLite reports: {verdict}")
    [rows] = db.execute("SELECT count(*) FROM webhooks").fetchone()
    if rows != (counted := _held(db).bodies):
        raise Damaged(f"it has {rows} bodies, but its count is {counted}")


def _held(db: sqlite3.Connection) -> Held:
    bodies, size = db.execute("SELECT total(bodies), total(bytes) FROM held").fetchone()
    [oldest] = db.execute("SELECT min(received_at) FROM webhooks").fetchone()
    if not isinstance(oldest, int | None):
        raise Damaged("the time of a body is not a number")
    return Held(int(bodies), int(size), oldest)


def _oldest(db: sqlite3.Connection, provider: str) -> int | None:
    """Return when a provider's first body was received; the oldest, unless a clock was set back."""
    query = "SELECT received_at FROM webhooks WHERE provider = ? ORDER BY seq LIMIT 1"
    row = db.execute(query, (provider,)).fetchone()
    return row[0] if row else None


def head_of(webhook: RawWebhook) -> dict[str, object]:
    """Return all fields of a webhook but its body; earlier versions read it without `uptime`."""
    noted: dict[str, object] = {} if webhook.uptime is None else {"uptime": webhook.uptime}
    if webhook.accounts is not None:
        noted["accounts"] = webhook.accounts
    return noted | {
        "id": webhook.id,
        "source": webhook.source,
        "provider": webhook.provider,
        "received_at": webhook.received_at,
        "method": webhook.method,
        "path": webhook.path,
        "content_type": webhook.content_type,
        "headers": dict(webhook.headers),
    }


def _to_row(webhook: RawWebhook) -> tuple[Any, ...]:
    head = msgspec.json.encode(head_of(webhook))
    sum_ = sha256(head + webhook.body).digest()
    size = size_of(webhook)
    return webhook.provider, webhook.received_at, size, head, webhook.body, sum_


def size_of(webhook: RawWebhook) -> int:
    """Return the bytes a webhook counts for: its body, path and headers, and a row's overhead."""
    headers = sum(len(name) + len(value) for name, value in webhook.headers.items())
    accounts = sum(map(len, webhook.accounts or ()))
    return len(webhook.body) + len(webhook.path) + headers + accounts + 256


def _from_row(row: tuple[Any, ...] | None) -> Row:
    if [type(value) for value in row or ()] != [int, bytes, bytes, bytes]:
        raise Damaged("a body has columns of wrong types")
    seq, head, body, sum_ = row or ()
    if sha256(head + body).digest() != sum_:
        raise Damaged(f"body {seq} does not match its checksum")
    return Row(seq, sum_, _webhook(head, body))


def _webhook(head: bytes, body: bytes) -> RawWebhook:
    fields = msgspec.json.decode(head)
    if "uptime" in fields:
        fields["uptime"] = msgspec.convert(fields["uptime"], Uptime)
    accounts = fields.pop("accounts", None)
    return RawWebhook(**fields, accounts=None if accounts is None else tuple(accounts), body=body)


def _up_to_damage(db: sqlite3.Connection) -> Generator[Row, None, int]:
    """Yield rows from the first on; returns the last `seq` read before SQLite failed."""
    last = 0
    with suppress(Exception):
        while rows := db.execute(
            f"{_ROWS} WHERE seq > ? ORDER BY seq LIMIT {_ROWS_AT_A_TIME}", (last,)
        ).fetchall():
            before = last
            for row in rows:
                last = row[0]
                with suppress(Exception):
                    yield _from_row(row)
            if last <= before:  # a damaged number would cause an endless loop
                break
    return last


def _seqs_from_the_end(db: sqlite3.Connection, last: int) -> list[int]:
    """Return the `seq` after `last` that can be read backwards from the end, in order."""
    seqs = []
    with suppress(Exception):
        for [seq] in db.execute(
            "SELECT seq FROM webhooks WHERE seq > ? ORDER BY seq DESC", (last,)
        ):
            seqs.append(seq)
    return seqs[::-1]
