"""Mistakes in the sources file as sentences: where, what is wrong, what to do. Pure.

No sentence repeats a value of the file: the value may be a misplaced secret.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KEY_OF_A_TABLE = "[key]"  # the last step of pydantic's path if the key itself is invalid

# Sentences for pydantic's kinds of errors; `wrong` and `mistake` below have their own.
_WORDS = {
    "string_type": "it is not a text",
    "dict_type": "it is not a table",
    "literal_error": "it is none of those known",
}

Keys = tuple[str | int, ...]
"""The path to a value: keys of tables, and indexes of lists from 0."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake at a key path; `text` is what is wrong and what to do."""

    keys: Keys
    text: str

    def __str__(self) -> str:
        return f"{key_path(self.keys)}: {self.text}" if self.keys else self.text


def wrong(words: str) -> PydanticCustomError:
    """Return the error of a value; the key's example is appended as what to write."""
    return PydanticCustomError("wrong", "{words}", {"words": words})


def mistake(sentence: str) -> PydanticCustomError:
    """Return the error of a value, with what to do."""
    return PydanticCustomError("mistake", "{sentence}", {"sentence": sentence})


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file: its path, its model, and texts for the sentences about it.

    `tags` is the number of leading steps in pydantic's path that name kinds of a union.
    """

    keys: Keys
    model: type[BaseModel]
    allowed: str
    missing: str = "it is missing"
    tags: int = 0

    def findings(self, error: ValidationError) -> Iterator[Finding]:
        """Yield the mistakes that pydantic has found in the table."""
        for detail in error.errors(include_url=False, include_input=False):
            keys = tuple(key for key in detail["loc"][self.tags :] if key != _KEY_OF_A_TABLE)
            yield Finding((*self.keys, *keys), self._sentence(detail, keys))

    def _sentence(self, detail: ErrorDetails, keys: Keys) -> str:
        kind, message = detail["type"], detail["msg"]
        if kind == "mistake":
            return message
        if kind == "extra_forbidden":
            return f"there is no such key; {self.allowed}"
        words = {"missing": self.missing, "wrong": message, **_WORDS}.get(kind, "it is not valid")
        return f"{words}; write {self._example(str(keys[0]))}"

    def _example(self, key: str) -> str:
        return " or ".join(self.model.model_fields[key].examples or [])


def key_path(keys: Keys) -> str:
    """Return keys in TOML's notation, with list indexes in brackets."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += "." * bool(path) + (key if _BARE.fullmatch(key) else json.dumps(key))
    return path


def either(choices: Sequence[str]) -> str:
    """Return choices in quotes, joined with commas and "or"."""
    *first, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last
