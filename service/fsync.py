"""Fsync of files and directories."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Write a file's bytes, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
