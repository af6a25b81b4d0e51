"""Records into a file, a JSON object a line, that nobody else may read; whole or not at all."""

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.output.json_escaping import as_text
from cli.output.records import Record, text_or_base64
from service.errors import Problem


class File:
    """A file being written."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.count = 0
        self._file = os.fdopen(descriptor, "wb")

    def add(self, record: Record) -> None:
        value = record.value or b""
        told = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "headers": [[name, text_or_base64(text)] for name, text in record.headers],
            "value_base64": b64encode(value).decode(),
            "sha256": hashlib.sha256(value).hexdigest(),
        }
        self._file.write(as_text(told).encode() + b"\n")
        self.count += 1

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


@contextmanager
def opened(to: Path, name: str) -> Iterator[File]:
    """A new file, `name` in it if `to` is a directory; raises `Problem`, also if it is there."""
    path = to
    try:
        path = to / name if to.is_dir() else to
        if path.exists():
            raise Problem(f"{path} is there already; name another file, or remove it")
        part = path.with_name(path.name + ".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
