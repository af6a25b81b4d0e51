"""The static name of a member in its group, kept in its processor's data directory.

With it, Kafka assigns a killed member the same partitions as soon as it returns; for the group, it
never left. A process uses the first name that no other process of the directory uses. It holds a
lock on the name's file; the lock ends when the process ends or is killed.
"""

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from pathlib import Path

from service.errors import Problem

_PREFIX = "instance-"


class Identity:
    """The name of one member, until it is closed; it begins with the directory's name."""

    def __init__(self, directory: Path) -> None:
        """Lock the first free name of a directory; raise `Problem` if that fails."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _first_free(directory)
            self.name = _name(self._file, directory.name)
        except OSError as error:
            raise Problem(
                "member_name", directory=str(directory), why=error.strerror or str(error)
            ) from None

    def close(self) -> None:
        """Release the name for other processes."""
        with contextlib.suppress(OSError):
            os.close(self._file)


def _first_free(directory: Path) -> int:
    """Open and lock the first file that no other process has locked."""
    for number in itertools.count():
        file = os.open(directory / f"{_PREFIX}{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        except BaseException:
            os.close(file)
            raise
        else:
            return file
    raise AssertionError


def _name(file: int, prefix: str) -> str:
    """Read the name in a locked file; an empty or damaged one gets a new name."""
    found = os.pread(file, 100, 0).decode(errors="replace").strip()
    if re.fullmatch(rf"{re.escape(prefix)}-[0-9a-f]{{32}}", found):
        return found
    name = f"{prefix}-{secrets.token_hex(16)}"
    os.ftruncate(file, 0)
    os.pwrite(file, f"{name}\n".encode(), 0)
    os.fsync(file)
    return name


def stored(directory: Path) -> list[int]:
    """Return the partitions whose stores are in a directory."""
    return sorted(int(one.name) for one in directory.glob("*") if one.name.isdecimal())
