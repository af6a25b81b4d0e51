"""JSON lines on standard output, or in a file that only its owner may read."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.output.json_escaping import as_text
from cli.problem_sentences import CommandProblem

_PRIVATE = 0o600


def print_json(*values: object) -> None:
    """Print each value as a line of JSON, at once."""
    sys.stdout.write("".join(as_text(value) + "\n" for value in values))
    sys.stdout.flush()


class File:
    """A file being written, one JSON value per line."""

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
    """Yield a new file, `name` in `to` if that is a directory; it appears complete or not at all.

    Raises `Problem`, also if the file exists.
    """
    path = to
    try:
        path = to / name if to.is_dir() else to
        if path.exists():
            raise CommandProblem(
                "file_exists",
                "{path} exists already; name another file, or remove it",
                path=str(path),
            )
        part = path.with_name(path.name + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    except OSError as error:
        raise CommandProblem(
            "file_not_writable",
            "{path} cannot be written: {why}; choose another place",
            path=str(path),
            why=error.strerror,
        ) from None
    file = File(path, descriptor)
    try:
        yield file
        file.close()
        part.rename(path)
    except OSError as error:
        raise CommandProblem(
            "file_not_writable",
            "{path} cannot be written: {why}; choose another place",
            path=str(path),
            why=error.strerror,
        ) from None
    finally:
        part.unlink(missing_ok=True)
