"""Slots: the numbered directories of a spool, each for one process at a time.

A slot has a kernel lock, which a process releases when it dies. Another process then takes over the
slot with its bodies and drains it.
"""

import fcntl
import os
from itertools import count
from pathlib import Path

from ingest.spool.database import FILE, MARKER
from service import private_files
from service.fsync import fsync

DAMAGED = f"{FILE}.damaged-"
JOURNAL = "-journal"
_LOCK = "lock"


class Slot:
    """A slot of a spool that this process has locked until it releases it."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock

    def release(self) -> None:
        os.close(self._lock)


def acquire(spool: Path) -> Slot:
    """Lock the first free slot and create it if necessary; raises `OSError`."""
    for number in count():
        directory = spool / str(number)
        _make(directory)
        if slot := _locked(directory):
            return slot
    raise AssertionError  # numbers do not end


def take_over(directory: Path) -> Slot | None:
    """Lock a slot if no process has it and it holds bodies, else return None; raises `OSError`."""
    if not holds(directory) or not (slot := _locked(directory)):
        return None
    if holds(directory):
        return slot
    slot.release()  # another process has just emptied it
    return None


def known(spool: Path) -> list[Path]:
    """Return the directories of all slots, ordered by number."""
    found = [path for path in spool.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def holding(spool: Path) -> list[str]:
    """Return the names of all slots, in use or not, that hold bodies or cannot be read."""
    return [directory.name for directory in known(spool) if _may_hold(directory)]


def holds(directory: Path) -> bool:
    """Whether a slot holds bodies that are not on Kafka; raises `OSError`."""
    # `exists` and `glob` would report an unreadable directory as empty.
    names = {path.name for path in directory.iterdir()}
    return MARKER in names or bool(set_aside(directory))


def set_aside(directory: Path) -> list[Path]:
    """Return the damaged files of a slot that are not recovered yet, without their journals."""
    found = directory.glob(f"{DAMAGED}*")
    return sorted(path for path in found if not path.name.endswith(JOURNAL))


def kept_aside(directory: Path) -> list[Path]:
    """Return the damaged files of a slot, recovered or not, without their journals."""
    found = [*directory.glob(f"{DAMAGED}*"), *directory.glob(f"{FILE}.salvaged-*")]
    return sorted(path for path in found if not path.name.endswith(JOURNAL))


def in_use(directory: Path) -> bool:
    """Whether a process has locked this slot; raises `OSError`."""
    slot = _locked(directory)
    if slot:
        slot.release()
    return slot is None


def _may_hold(directory: Path) -> bool:
    try:
        return holds(directory)
    except OSError:
        return True


def _locked(directory: Path) -> Slot | None:
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return Slot(directory, lock)


def _make(directory: Path) -> None:
    """Create a directory that only this user can read, and sync its name to the disk."""
    if directory.is_dir():
        private_files.tighten(directory)
        return
    private_files.directory(directory)
    fsync(directory.parent)
    fsync(directory.parent.parent)
