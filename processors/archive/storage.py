"""Where an archive lies: a directory, or whatever else fsspec reaches by URL.

A file is written under another name and moved when it is whole, so nothing half written is ever
met under its own name. On a local disk it is also synced first: Kafka may forget what is archived.
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
from service.errors import Problem
from service.fsync import fsync

_PART = ".part"
_USER_INFO = re.compile(r"://[^/]*@")


def unfinished(name: str) -> bool:
    """Whether a file was still being written, or its writer was killed."""
    return name.endswith(_PART)


class Storage:
    """A place for files; every failure is a `Problem` that names the file."""

    def __init__(self, url: str) -> None:
        """`url` is a path or a URL; one with credentials in it is refused, and not repeated."""
        _refuse_secrets(url)
        _refuse_elsewhere(url)
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise Problem(
                f"an archive cannot be at {url}: {error}; name a directory, or a URL whose file "
                "system fsspec has (docs/archive.md)"
            ) from None
        self._local = isinstance(self._files, LocalFileSystem)
        self.url = str(self._files.unstrip_protocol(self._root))
        if self._local and self._files.isfile(self._root):
            raise Problem(f"an archive cannot be at {self.url}: that is a file; name a directory")

    def names(self, under: str = "") -> list[str]:
        """All files below, in order, and what was never finished (see `unfinished`)."""
        with self._explained("listed", under):
            self._files.invalidate_cache()
            found = self._files.find(self._at(under).rstrip("/"))
            return sorted(str(path).removeprefix(self._root).lstrip("/") for path in found)

    def read(self, name: str) -> bytes:
        with self._explained("read", name):
            return bytes(self._files.cat_file(self._at(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file whole."""
        with self.writing(name) as part:
            part.write(data)
            part.keep(name)

    def open(self, name: str) -> Any:
        """Open a file to read it."""
        with self._explained("read", name):
            return self._files.open(self._at(name), "rb")

    def writing(self, beside: str) -> "Part":
        """Begin a file whose name is known only once it is whole; `beside` is where it will lie."""
        part = f"{beside.rpartition('/')[0]}/{secrets.token_hex(8)}{_PART}"
        with self._explained("written", part):
            self._files.makedirs(self._at(part).rpartition("/")[0], exist_ok=True)
            return Part(self, part, self._files.open(self._at(part), "wb"))

    def finish(self, part: str, name: str) -> None:
        """Give a file that is whole and closed its name; a file of that name is replaced."""
        with self._explained("written", name):
            failpoints.reach("archive.before_rename")
            self._files.mv(self._at(part), self._at(name))
            if self._local:
                fsync(Path(self._at(name)).parent)

    def discard(self, part: str) -> None:
        with self._explained("deleted", part):
            self._files.rm_file(self._at(part))

    def sync(self, file: Any) -> None:
        """Have the bytes of an open file on the disk, where there is one."""
        if self._local:
            file.flush()
            os.fsync(file.fileno())

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _explained(self, done: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each file system has errors of its own
            place = f"{self.url}/{name}".rstrip("/")
            why = "it is not there" if isinstance(error, FileNotFoundError) else _said(error)
            raise Problem(f"{place} cannot be {done}: {why}") from error


class Part:
    """A file under way; leaving it without `keep` deletes it."""

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
        """Close it and give it its name."""
        with self._storage._explained("written", self._part):  # noqa: SLF001
            self._storage.sync(self._file)
            self._file.close()
        self._storage.finish(self._part, name)
        self._kept = True

    def drop(self) -> None:
        """Delete it, unless it was kept."""
        if not self._kept:
            # On a full disk closing fails again; why it is dropped has been said already.
            with contextlib.suppress(Exception):
                self._file.close()
            self._kept = True
            self._storage.discard(self._part)


def _refuse_secrets(url: str) -> None:
    if _USER_INFO.search(url) or ("://" in url and urlsplit(url).query):
        raise Problem(
            "the archive's URL holds a user, a password or a query, and would be seen in logs and "
            "metadata; leave them out and give them the way its file system takes them from the "
            "environment"
        )


def _refuse_elsewhere(url: str) -> None:
    """Raise `Problem` for what fsspec would take for a place below the working directory."""
    if not url.strip():
        raise Problem("an archive's URL is empty; name a directory, or a URL (docs/archive.md)")
    if url.startswith("file://") and (host := urlsplit(url).netloc):
        raise Problem(
            f"an archive cannot be at {url}: {host} is the name of a machine there; write "
            f"file:///{url.removeprefix('file://')}"
        )


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
