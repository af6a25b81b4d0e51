"""The storage of an archive: a directory, or any URL that fsspec supports.

A file is written under a temporary name and moved when it is complete, so no incomplete file has a
final name. On a local disk it is synced first, because Kafka may delete archived records.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from processors.runtime import failpoints
from service.errors import Problem, system_reason
from service.fsync import fsync

_PART = ".part"
_USER_INFO = re.compile(r"://[^/]*@")


def unfinished(name: str) -> bool:
    """Whether a file is still being written, or its writer was killed."""
    return name.endswith(_PART)


class Storage:
    """A store of files; every failure is a `Problem` that names the file."""

    def __init__(self, url: str) -> None:
        """`url` is a path or a URL; a URL with credentials is refused, and not repeated."""
        _refuse_secrets(url)
        _refuse_elsewhere(url)
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise Problem("archive_url_unknown", url=url, why=str(error)) from None
        self._local = isinstance(self._files, LocalFileSystem)
        self.url = str(self._files.unstrip_protocol(self._root))
        if self._local and self._files.isfile(self._root):
            raise Problem("archive_url_file", url=self.url)

    def names(self, under: str = "") -> list[str]:
        """Return all files below `under`, in order, with unfinished ones (see `unfinished`)."""
        with self._explained("listed", under):
            self._files.invalidate_cache()
            found = self._files.find(self._at(under).rstrip("/"))
            return sorted(str(path).removeprefix(self._root).lstrip("/") for path in found)

    def read(self, name: str) -> bytes:
        with self._explained("read", name):
            return bytes(self._files.cat_file(self._at(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""
        with self.writing(name) as part:
            part.write(data)
            part.keep(name)

    def open(self, name: str) -> Any:
        """Open a file to read it."""
        with self._explained("read", name):
            return self._files.open(self._at(name), "rb")

    def writing(self, near: str) -> "Part":
        """Begin a file whose name is known only at its end, in the directory of `near`."""
        part = f"{near.rpartition('/')[0]}/{secrets.token_hex(8)}{_PART}"
        with self._explained("written", part):
            self._files.makedirs(self._at(part).rpartition("/")[0], exist_ok=True)
            return Part(self, part, self._files.open(self._at(part), "wb"))

    def finish(self, part: str, name: str) -> None:
        """Move a complete, closed file to its final name; a file of that name is replaced."""
        with self._explained("written", name):
            failpoints.reach("archive.before_rename")
            self._files.mv(self._at(part), self._at(name))
            if self._local:
                fsync(Path(self._at(name)).parent)

    def discard(self, part: str) -> None:
        with self._explained("deleted", part):
            self._files.rm_file(self._at(part))

    def sync(self, file: Any) -> None:
        """Sync an open file to disk, if the storage is local."""
        if self._local:
            file.flush()
            os.fsync(file.fileno())

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _explained(self, done: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each file system has its own errors
            place = f"{self.url}/{name}".rstrip("/")
            why = (
                "it is not there" if isinstance(error, FileNotFoundError) else system_reason(error)
            )
            raise Problem("archive_storage_failed", place=place, done=done, why=why) from error


class Part:
    """A file that is being written; leaving the context without `keep` deletes it."""

    def __init__(self, storage: Storage, part: str, file: Any) -> None:
        self._storage = storage
        self._part = part
        self._file = file
        self._kept = False
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def write(self, data: Any) -> int:
        with self._storage._explained("written", self._part):  # noqa: SLF001 - its other half
            self._file.write(data)
        self.size += len(data)
        return len(data)

    def keep(self, name: str) -> None:
        """Close the file and give it its final name."""
        with self._storage._explained("written", self._part):  # noqa: SLF001
            self._storage.sync(self._file)
            self._file.close()
        self._storage.finish(self._part, name)
        self._kept = True

    def drop(self) -> None:
        """Delete the file, unless it was kept."""
        if not self._kept:
            # On a full disk closing fails again; the first error was reported already.
            with contextlib.suppress(Exception):
                self._file.close()
            self._kept = True
            self._storage.discard(self._part)


def _refuse_secrets(url: str) -> None:
    if _USER_INFO.search(url) or ("://" in url and urlsplit(url).query):
        raise Problem("archive_url_secret")


def _refuse_elsewhere(url: str) -> None:
    """Raise `Problem` for a URL that fsspec would read as a path in the working directory."""
    if not url.strip():
        raise Problem("archive_url_empty")
    if url.startswith("file://") and (host := urlsplit(url).netloc):
        raise Problem("archive_url_host", url=url, host=host, path=url.removeprefix("file://"))
