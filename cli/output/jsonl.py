"""JSON lines: a value a line on the standard output, or in a file that only its owner may read."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.output.json_escaping import as_text
from service.errors import Problem

_PRIVATE = 0o600


def print_json(*values: object) -> None:
    """Print each value as a line of JSON, at once."""
    sys.stdout.write("".join(as_text(value) + "\n" for value in values))
    sys.stdout.flush()


class File:
    """A file being written, a JSON value a line."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.count = 0
        self._file = os.fdopen(descriptor, "wb")

    def add(self, value: object) -> None:
        self._file.write(as_text(value).encode() + b"\n")
        self.count += 1

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@contextmanager
def opened(to: Path, name: str) -> Iterator[File]:
    """A new file, `name` in it if `to` is a directory; there whole at the end, or not at all.

    Raises `Problem`, also if it is there already.
    """
    path = to
    try:
        path = to / name if to.is_dir() else to
        if path.exists():
            raise Problem(f"{path} is there already; name another file, or remove it")
        part = path.with_name(path.name + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}; choose another place") from None
    file = File(path, descriptor)
    try:
        yield file
        file.close()
        part.rename(path)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}; choose another place") from None
    finally:
        part.unlink(missing_ok=True)
