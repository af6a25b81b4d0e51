"""The tracker's local store: one RocksDB a partition, a cache of the `messages` topic.

It is never the truth. The write-ahead log is off: the changelog is one. The checkpoint, the offset
of `messages` up to which the store is complete, is written in the same batch as the states, so a
crash loses both or neither. Whatever looks wrong (another manifest, a checkpoint outside the log,
corruption) means: wipe and restore.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from schemas.problem import Problem

log = logging.getLogger(__name__)

_FORMAT = 1
_CHECKPOINT = b"\x00checkpoint"
_MANIFEST = b"\x00manifest"
# State keys are message keys, which begin with a provider's name: they never begin with \x00.

_cache = Cache(64 * 1024 * 1024)  # shared by all partitions of the process


class Store:
    """States by message key, both as bytes, and the checkpoint."""

    def __init__(self, directory: Path, identity: str) -> None:
        """Open or create; `identity` names the changelog partition the store is a copy of."""
        self._directory = directory
        self._identity = f"{_FORMAT} {identity}".encode()
        self._write_options = WriteOptions()
        # A property, whatever the library's stub says.
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]
        self._db = self._open()
        self._restore_manifest()

    @property
    def checkpoint(self) -> int | None:
        """The changelog offset after the last record in the store; None for an empty store."""
        value: bytes | None = self._db.get(_CHECKPOINT)
        return None if value is None else int(value)

    def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read the states of many messages at once."""
        if not keys:
            return []
        return list(self._db.get([key.encode() for key in keys]) or ())

    def write(self, states: Mapping[bytes, bytes | None], checkpoint: int | None) -> None:
        """Put (or, for None, delete) states and move the checkpoint, all or nothing."""
        batch = WriteBatch(raw_mode=True)
        for key, value in states.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if checkpoint is not None:
            batch.put(_CHECKPOINT, str(checkpoint).encode())
        try:
            self._db.write(batch, self._write_options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises plain Exception
            raise Problem(f"the store {self._directory} cannot be written: {error}") from None

    def wipe(self) -> None:
        """Forget everything; the next restore starts from the beginning of the log."""
        self._db.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._db = self._open()
        self._restore_manifest()

    def close(self) -> None:
        """Write what is in memory to disk and close."""
        self._db.flush()
        self._db.close()

    def _open(self) -> Rdict:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            return self._rdict()
        except Exception as error:  # noqa: BLE001 - rocksdict raises plain Exception
            if "lock hold" in str(error):
                raise Problem(
                    f"the store {self._directory} is open in another process; give each tracker "
                    "a data directory of its own (BLUETICK_DATA)"
                ) from None
            log.warning("store %s cannot be opened (%s): starting anew", self._directory, error)
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True)
            return self._rdict()

    def _rdict(self) -> Rdict:
        # Options are given on every open: RocksDB does not keep them for an existing database.
        return Rdict(str(self._directory), options=_options(), access_type=AccessType.read_write())

    def _restore_manifest(self) -> None:
        found = self._db.get(_MANIFEST)
        if found is not None and found != self._identity:
            log.warning("store %s is of %r: starting anew", self._directory, found)
            self.wipe()
        elif found is None:
            if self.checkpoint is not None:
                self.wipe()
            self._db.put(_MANIFEST, self._identity, self._write_options)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    table = BlockBasedOptions()
    table.set_block_cache(_cache)
    # Most look-ups are for messages never seen before: the filter answers them from memory.
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(16 * 1024 * 1024)
    options.set_max_write_buffer_number(2)
    options.set_keep_log_file_num(2)
    return options
