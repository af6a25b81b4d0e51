"""Directories and files for personal data: only the user who runs Bluetick may look into them."""

import os
import stat
from pathlib import Path

# What a process's new files and directories lack: every right of the group and of others.
MASK = 0o077

_DIRECTORY = 0o700


def mask() -> None:
    """Make whatever this process and its children create from now on private."""
    os.umask(MASK)


def directory(path: Path) -> None:
    """Make a directory private, with missing ones above it; tighten it if it is there.

    Raises `OSError`. Directories above it that are there stay as they are: others may use them.
    """
    for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
        missing.mkdir(mode=_DIRECTORY, exist_ok=True)
    _tighten(path)


def tighten(path: Path) -> None:
    """Take the rights of the group and of others from a directory and from all that is in it.

    What belongs to another user, and what a symbolic link names, stays as it is.
    """
    _tighten(path)
    for at, directories, files in os.walk(path):
        for name in (*directories, *files):
            _tighten(Path(at, name))


def _tighten(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:  # removed since it was listed
        return
    ours = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    if ours and found.st_mode & MASK:
        path.chmod(stat.S_IMODE(found.st_mode) & ~MASK)
