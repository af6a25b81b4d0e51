"""The tracker's local store: one RocksDB a partition, a cache of the `messages` topic.

The topic is the source of truth. The write-ahead log is off: the changelog replaces it. The anchor
is the last record of `messages` that the store contains. It is written in the same batch as the
states, so a crash loses both or neither. After any mismatch (another manifest, an anchor that is
not in the log, corruption) the store is wiped and restored.

Beside the anchor are the counts of messages (standing.py), written with every change of them. They
name the anchor that they belong to: an earlier version of Bluetick that writes to the store moves
the anchor alone, and the restore counts again.

Next to the states is an index of timers: the time at which to check each state. An entry may be
obsolete, as the state has changed since; it costs one check. Every timer has an entry.
"""

import errno
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

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

from processors.tracking.batch_types import Timer
from processors.tracking.standing import Standing, change, of_stored
from providers import NAMES
from service import private_files
from service.errors import Problem
from service.logger import logger
from service.metrics.labels import CHANNELS

log = logger(__name__)

T = TypeVar("T")

_FORMAT = 3
# State keys are message keys, which begin with a provider's name: they never begin with \x00.
_ANCHOR = b"\x00anchor"
_MANIFEST = b"\x00manifest"
_COUNTS = b"\x00counts"
_FIRST_STATE = b"\x01"
# An entry of the index: this, eight bytes of Unix milliseconds, the message key.
_TIMER = b"\x00timer"
_HEAD = len(_TIMER) + 8
_NEVER = 2**63 - 1
_STEP = 500  # messages counted at a time
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


class Store:
    """States by message key, both as bytes, the timers, and the anchor."""

    def __init__(self, directory: Path, identity: str) -> None:
        """Open or create the store; `identity` names its changelog partition."""
        self._directory = directory
        self._identity = f"{_FORMAT} {identity}".encode()
        self._write_options = WriteOptions()
        # A property, whatever the library's stub says.
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]
        self._read_options = ReadOptions()
        self._read_options.set_iterate_upper_bound(_TIMER + b"\xff" * 9)
        # The known start of the index: before it there are only tombstones of used entries. To skip
        # a million of them at each read would take ever longer.
        self._first = _TIMER
        try:
            self._db = self._open()
        except CorruptError as error:
            log.warning("store_unreadable", reason=error, directory=self._directory)
            self._db = self._open_empty()
        if not self._has_identity():
            self.wipe()
        # The number of messages by what they count as; None if they must be counted.
        self.counts: Counter[Standing] | None = self._stored_counts()

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
        """Return the states of many messages."""
        if not keys:
            return []
        return self._read(lambda: list(self._db.get([key.encode() for key in keys]) or ()))

    def count(self) -> Iterator[None]:
        """Count all messages, in steps; nothing else may write meanwhile."""
        found: Counter[Standing] = Counter()
        entries = self._db.iter(ReadOptions())
        entries.seek(_FIRST_STATE)
        for number in itertools.count(1):
            if not entries.valid():
                break
            found.update(of_stored(entries.key(), entries.value()))
            entries.next()
            if number % _STEP == 0:
                yield
        self._read(lambda: self._db.put(_COUNTS, _count_record(found, self.anchor)))
        self.counts = found

    def change_from(self, states: Mapping[bytes, bytes | None]) -> Counter[Standing]:
        """Return the difference that stored states make to the counts, when they are written."""
        known = self._read(lambda: list(self._db.get(list(states)) or ()))
        difference: Counter[Standing] = Counter()
        for (key, value), before in zip(states.items(), known, strict=True):
            was, now = of_stored(key, before), of_stored(key, value)
            if was != now:
                difference.update(change(was, now))
        return difference

    def due(self, until: int, most: int) -> list[Timer]:
        """Return the first `most` timers due at `until` (Unix ms) or before."""
        return self._read(lambda: list(islice(self._timers(until), most)))

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        anchor: Anchor | None,
        armed: Mapping[bytes, int] | None = None,
        spent: Iterable[Timer] = (),
        difference: Mapping[Standing, int] | None = None,
    ) -> None:
        """Write states (None deletes one) and the anchor, all or nothing.

        `armed` has, by key, the time at which to check a state (Unix ms); `spent` timers are
        deleted. `difference` is what the states change in the counts.
        """
        batch = WriteBatch(raw_mode=True)
        for key, value in states.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        for timer in spent:
            batch.delete(_entry(timer.due, timer.key.encode()))
        for key, at in (armed or {}).items():
            entry = _entry(at, key)
            batch.put(entry, b"")
            self._first = min(self._first, entry)
        if anchor is not None:
            batch.put(_ANCHOR, bytes(anchor))
        counts = self.counts
        if counts is not None and (difference or anchor is not None):
            counts = counts.copy()
            counts.update(difference)
            batch.put(_COUNTS, _count_record(counts, anchor or self.anchor))
        self._read(lambda: self._db.write(batch, self._write_options))
        self.counts = counts

    def wipe(self) -> None:
        """Delete everything; the next restore starts from the beginning of the log."""
        self._db.close()
        self._db = self._open_empty()
        self.counts = None

    def close(self) -> None:
        """Flush to disk and close."""
        try:
            self._db.flush()
        except Exception as error:  # noqa: BLE001 - rocksdict raises plain Exception
            log.warning("store_not_flushed", directory=self._directory, reason=error)
        finally:
            self._db.close()

    def _stored_counts(self) -> Counter[Standing] | None:
        """Return the stored counts; None if there are none of this anchor and these labels."""
        value = self._read(lambda: self._db.get(_COUNTS))
        if value is None:
            return None
        found = json.loads(value)
        counts = {Standing(provider, channel): n for provider, channel, n in found["counts"]}
        return Counter(counts) if value == _count_record(Counter(counts), self.anchor) else None

    def _timers(self, until: int) -> Iterator[Timer]:
        """Yield the entries of the index in order, and keep its start."""
        entries = self._db.iter(self._read_options)
        entries.seek(self._first)
        first = True
        while entries.valid():
            key = entries.key()
            if first:
                self._first, first = key, False
            due = int.from_bytes(key[len(_TIMER) : _HEAD])
            if due > until:
                return
            yield Timer(due, key[_HEAD:].decode())
            entries.next()

    def _has_identity(self) -> bool:
        try:
            return bool(self._read(lambda: self._db.get(_MANIFEST)) == self._identity)
        except CorruptError as error:
            log.warning("store_unreadable", reason=error, directory=self._directory)
            return False

    def _open_empty(self) -> Rdict:
        shutil.rmtree(self._directory, ignore_errors=False)
        self._first = _TIMER
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


def _count_record(counts: Counter[Standing], anchor: Anchor | None) -> bytes:
    """Return the counts as stored, with the anchor and the labels that they belong to."""
    return json.dumps(
        {
            "anchor": anchor and [*anchor],
            "labels": [*NAMES, *CHANNELS],
            "counts": [[*one, number] for one, number in counts.items() if number],
        }
    ).encode()


def _entry(due: int, key: bytes) -> bytes:
    # A time outside of the range of clocks is checked first, or never.
    return _TIMER + min(max(due, 0), _NEVER).to_bytes(8) + key


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
