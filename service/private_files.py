"""Directories and files for personal data: only the user who runs Bluetick may read them."""

import os
import stat
from pathlib import Path

# The permissions that new files and directories lack: all those of the group and of others.
MASK = 0o077

_DIRECTORY = 0o700


def mask() -> None:
    """Make private all files that this process and its children create from now on."""
    os.umask(MASK)


def directory(path: Path) -> None:
    """Create a private directory, with missing parents; tighten it if it exists.

    Raises `OSError`. Existing parents keep their permissions: other programs may use them.
    """
    for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
        missing.mkdir(mode=_DIRECTORY, exist_ok=True)
    _tighten(path)


def tighten(path: Path) -> None:
    """Remove the permissions of the group and of others from a directory and all its contents.

    Files of another user, and the targets of symbolic links, keep their permissions.
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
    own_file = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    if own_file and found.st_mode & MASK:
        path.chmod(stat.S_IMODE(found.st_mode) & ~MASK)
