"""Writing to the disk what the system still holds in memory."""

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Have a file's bytes, or the names in a directory, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
