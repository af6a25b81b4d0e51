"""Places: the numbered directories of a spool, each for one process at a time.

The lock of a place is the kernel's, so a process that dies leaves it free at once, with what it
held: another process takes the place over, and drains it.
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


class Place:
    """A place of a spool that is ours until it is released."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock

    def release(self) -> None:
        os.close(self._lock)


def take(spool: Path) -> Place:
    """Take the first place that is free, made if need be; raises `OSError`."""
    for number in count():
        directory = spool / str(number)
        _make(directory)
        if place := _locked(directory):
            return place
    raise AssertionError  # numbers do not end


def take_over(directory: Path) -> Place | None:
    """Take a place if nobody has it and it holds something; raises `OSError`."""
    if not holds(directory) or not (place := _locked(directory)):
        return None
    if holds(directory):
        return place
    place.release()  # somebody has just emptied it
    return None


def known(spool: Path) -> list[Path]:
    """All places there are, by number."""
    found = [path for path in spool.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def holding(spool: Path) -> list[str]:
    """The names of all places that hold something, in use or not, or cannot be looked into."""
    return [directory.name for directory in known(spool) if _may_hold(directory)]


def holds(directory: Path) -> bool:
    """Whether there are bodies in a place that should go to Kafka; raises `OSError`."""
    # `exists` and `glob` would take what we may not look into for empty.
    names = {path.name for path in directory.iterdir()}
    return MARKER in names or bool(set_aside(directory))


def set_aside(directory: Path) -> list[Path]:
    """The damaged files in a place that are not taken over yet, without their journals."""
    found = directory.glob(f"{DAMAGED}*")
    return sorted(path for path in found if not path.name.endswith(JOURNAL))


def in_use(directory: Path) -> bool:
    """Whether some process has this place now; raises `OSError`."""
    place = _locked(directory)
    if place:
        place.release()
    return place is None


def _may_hold(directory: Path) -> bool:
    try:
        return holds(directory)
    except OSError:
        return True


def _locked(directory: Path) -> Place | None:
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return Place(directory, lock)


def _make(directory: Path) -> None:
    """Make a directory that only we may read, and have its name on the disk."""
    if directory.is_dir():
        private_files.tighten(directory)
        return
    private_files.directory(directory)
    fsync(directory.parent)
    fsync(directory.parent.parent)
