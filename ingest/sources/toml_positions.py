"""Where each key stands in a TOML text, pure: the standard library's parser gives no line numbers.

The text is one that `tomllib` has read without complaint, so nothing is judged here; it is only
walked through, key by key and value by value.
"""

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""The keys that lead to a value; places in an array are numbers."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")


def lines(text: str) -> Mapping[Path, int]:
    """The line on which each key, and each entry of an array, is first named; from 1."""
    return _Walk(text).document()


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, int] = {}
        self._entries: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._takes("[["):
                table = self._header(of_array=True)
            elif self._takes("["):
                table = self._header(of_array=False)
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._found

    def _header(self, *, of_array: bool) -> Path:
        start = self._at
        *above, last = self._keys()
        parent: Path = ()
        for key in above:
            parent = self._entered((*parent, key))
        named = (*parent, last)
        if of_array:
            self._entries[named] = self._entries.get(named, -1) + 1
        table = self._entered(named)
        self._note(table, start)
        self._at += 2 if of_array else 1
        return table

    def _entered(self, path: Path) -> Path:
        """The path itself or, if it is that of an array of tables, its latest entry's."""
        return (*path, self._entries[path]) if path in self._entries else path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._keys())
        self._note(path, start)
        self._at += 1  # =
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                keys.append(tomllib.loads(f"key = {self._skip(_STRING)}")["key"])
            else:
                keys.append(self._skip(_BARE))
            self._skip(_SPACE)
            if not self._takes("."):
                return keys

    def _value(self, path: Path) -> None:
        if self._takes("["):
            self._array(path)
        elif self._takes("{"):
            self._inline_table(path)
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        place = 0
        self._skip(_BLANK)
        while not self._takes("]"):
            entry = (*path, place)
            self._note(entry, self._at)
            self._value(entry)
            place += 1
            self._skip(_BLANK)
            self._takes(",")
            self._skip(_BLANK)

    def _inline_table(self, path: Path) -> None:
        self._skip(_BLANK)
        while not self._takes("}"):
            self._pair(path)
            self._skip(_BLANK)
            self._takes(",")
            self._skip(_BLANK)

    def _note(self, path: Path, at: int) -> None:
        line = self._text.count("\n", 0, at) + 1
        for end in range(1, len(path) + 1):
            self._found.setdefault(path[:end], line)

    def _takes(self, sign: str) -> bool:
        taken = self._text.startswith(sign, self._at)
        self._at += len(sign) if taken else 0
        return taken

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found.group() if found else ""
