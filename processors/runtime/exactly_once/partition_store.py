"""A local store of one partition: one RocksDB, a cache of a compacted topic, its changelog.

The topic is the source of truth. The write-ahead log is off: the changelog replaces it. The anchor
is the last record of the changelog that the store contains. It is written in the same batch as the
values, so a crash loses both or neither. After any mismatch (another manifest, an anchor that is
not in the log, corruption) the store is wiped and restored.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from aiokafka import ConsumerRecord
from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from processors.runtime.exactly_once.changelog_headers import TAKEN_TO, header_number
from service import private_files
from service.errors import Problem
from service.logger import logger

log = logger(__name__)

T = TypeVar("T")

# Keys of the changelog never begin with \x00.
_ANCHOR = b"\x00anchor"
_MANIFEST = b"\x00manifest"
_POSITION = b"\x00position"
_GAPS = b"\x00gaps"
_SIZE = "rocksdb.total-sst-files-size"

_BUFFER_BYTES = 8 * 1024 * 1024  # for each of a process's partitions, and more while one is filled
_BUFFERS = 6
_BLOCK_BYTES = 16 * 1024  # the index of all blocks is kept in memory

# The errors of fcntl(2) for a lock that another process holds.
_LOCKED = (os.strerror(errno.EAGAIN), os.strerror(errno.EACCES))

_cache = Cache(64 * 1024 * 1024)  # shared by all partitions of the process


class CorruptError(Exception):
    """The store cannot be read; it must be wiped and restored."""


class Anchor(NamedTuple):
    """A record of the changelog. Its time differs if the topic was created again."""

    offset: int
    timestamp: int

    @classmethod
    def of(cls, value: bytes) -> Self:
        return cls(*map(int, value.split()))

    def __bytes__(self) -> bytes:
        return f"{self.offset} {self.timestamp}".encode()


class PartitionStore:
    """Values by key, both as bytes, the anchor, and the position in the input that it implies."""

    def __init__(self, directory: Path, identity: str) -> None:
        """Open or create the store; `identity` names its format and changelog partition."""
        self._directory = directory
        self._identity = identity.encode()
        self._write_options = WriteOptions()
        # A property, whatever the library's stub says.
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]
        try:
            self._db = self._open()
        except CorruptError as error:
            log.warning("store_unreadable", reason=error, directory=self._directory)
            self._db = self._open_empty()
        if not self._has_identity():
            self.wipe()

    @property
    def size(self) -> int:
        """The size of the store on disk, in bytes."""
        return self._read(lambda: self._db.property_int_value(_SIZE) or 0)

    @property
    def anchor(self) -> Anchor | None:
        """Return the last changelog record in the store; None for an empty store."""
        value = self._read(lambda: self._db.get(_ANCHOR))
        return None if value is None else Anchor.of(value)

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of many keys."""
        if not keys:
            return []
        return self._read(lambda: list(self._db.get([key.encode() for key in keys]) or ()))

    @property
    def has_gaps(self) -> bool:
        """Whether records of the changelog before the anchor are missing on purpose."""
        return self._read(lambda: self._db.get(_GAPS)) is not None

    def note_gaps(self) -> None:
        """Note that records of the changelog are left out: only this restore may use the store."""
        self._read(lambda: self._db.put(_GAPS, b"", self._write_options))

    @property
    def position(self) -> int | None:
        """The offset of the input up to which the values hold it, if the changelog names it."""
        value = self._read(lambda: self._db.get(_POSITION))
        return None if value is None else int(value)

    def keys(self, start: str, end: str, most: int) -> list[str]:
        """Return the first `most` keys from `start` on and before `end`, in their order."""
        return self._read(lambda: list(islice(self._keys(start, end), most)))

    def put(
        self, values: Mapping[bytes, bytes | None], anchor: Anchor | None, position: int | None
    ) -> None:
        """Write values (None deletes one), the anchor and the position, all or nothing."""
        batch = WriteBatch(raw_mode=True)
        put_all(batch, values)
        if position is not None:
            batch.put(_POSITION, b"%d" % position)
        self._commit(batch, anchor)

    async def prepare_restore(self) -> None:
        """Prepare to be restored from the anchor on."""

    def restored(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Write records of the changelog, read in their order, at least one."""
        last = Anchor(records[-1].offset, records[-1].timestamp)
        values = {record.key: record.value for record in records if record.key is not None}
        positions = (header_number(record, TAKEN_TO) for record in reversed(records))
        self.put(values, last, next((one for one in positions if one is not None), None))

    async def finish_restore(self) -> None:
        """End a restore: the store has all of the changelog."""

    def wipe(self) -> None:
        """Delete everything; the next restore starts from the beginning of the log."""
        self._db.close()
        self._db = self._open_empty()

    def close(self) -> None:
        """Flush to disk and close."""
        try:
            self._db.flush()
        except Exception as error:  # noqa: BLE001 - rocksdict raises plain Exception
            log.warning("store_not_flushed", directory=self._directory, reason=error)
        finally:
            self._db.close()

    def _keys(self, start: str, end: str) -> Iterator[str]:
        options = ReadOptions()
        options.set_iterate_upper_bound(end.encode())
        entries = self._db.iter(options)
        entries.seek(start.encode())
        while entries.valid():
            yield entries.key().decode()
            entries.next()

    def _commit(self, batch: WriteBatch, anchor: Anchor | None) -> None:
        """Write a batch, and the anchor if there is a new one, all or nothing."""
        if anchor is not None:
            batch.put(_ANCHOR, bytes(anchor))
        self._read(lambda: self._db.write(batch, self._write_options))

    def _has_identity(self) -> bool:
        try:
            return bool(self._read(lambda: self._db.get(_MANIFEST)) == self._identity)
        except CorruptError as error:
            log.warning("store_unreadable", reason=error, directory=self._directory)
            return False

    def _open_empty(self) -> Rdict:
        shutil.rmtree(self._directory, ignore_errors=False)
        database = self._open()
        database.put(_MANIFEST, self._identity, self._write_options)
        return database

    def _open(self) -> Rdict:
        try:
            private_files.directory(self._directory)
        except OSError as error:
            raise self._explained(error.strerror or str(error)) from None
        # Options are given on every open: RocksDB does not keep them for an existing database.
        return self._read(
            lambda: Rdict(
                str(self._directory), options=_options(), access_type=AccessType.read_write()
            )
        )

    def _read(self, work: Callable[[], T]) -> T:
        """Call RocksDB; rocksdict raises its errors as plain Exception."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001
            raise self._explained(str(error)) from None

    def _explained(self, error: str) -> Exception:
        where = f"the store {self._directory}"
        if error.startswith(("Corruption", "Invalid argument")):
            return CorruptError(f"{where} is damaged ({error})")
        if _is_locked(error):
            return Problem("store_in_use", store=str(self._directory))
        return Problem("store_unusable", store=str(self._directory), why=error)


def _is_locked(error: str) -> bool:
    """Whether the error means that the store is open elsewhere. RocksDB's errors name the path."""
    another = error.startswith("IO error: While lock file: ") and error.endswith(_LOCKED)
    return another or error.startswith("IO error: lock hold by current process, ")


def put_all(batch: WriteBatch, values: Mapping[bytes, bytes | None]) -> None:
    """Add values to a batch; None deletes one."""
    for key, value in values.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    table = BlockBasedOptions()
    table.set_block_cache(_cache)
    table.set_block_size(_BLOCK_BYTES)
    # Most reads are of new messages: the filter answers them from memory.
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(_BUFFER_BYTES)
    # rocksdict holds the GIL while it writes. By default RocksDB delays writes for compaction while
    # a store is filled, which would stop the whole process. With these settings no write waits.
    options.set_max_write_buffer_number(_BUFFERS)
    options.set_level_zero_file_num_compaction_trigger(16)
    options.set_level_zero_slowdown_writes_trigger(1000)
    options.set_level_zero_stop_writes_trigger(2000)
    options.set_soft_pending_compaction_bytes_limit(0)
    options.set_hard_pending_compaction_bytes_limit(0)
    options.set_keep_log_file_num(2)
    return options
