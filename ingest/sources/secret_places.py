"""Where a secret is kept: `env:NAME` or `file:/path`. The file of sources holds no secret. Pure."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic_core import PydanticCustomError

from ingest.sources.mistakes import mistake, wrong

# Two, so that one can be taken out of use after the other has come into it.
MOST_SECRETS = 2

_PLACE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\x00-\x1f]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is kept."""

    kind: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def place(entry: object) -> Place:
    """The place that an entry of `secrets` names; a pydantic error if it names none."""
    found = _PLACE.fullmatch(entry) if isinstance(entry, str) else None
    if found is None:
        raise mistake(
            "the entry does not say where a secret is kept; write env:NAME or file:/path, and the "
            "secret itself nowhere in this file"
        )
    if not found[1]:
        return Place("file", found[4])
    if found[2].upper().startswith("BLUETICK_"):
        raise mistake(f"{found[2]} would be taken for a setting; give the variable another name")
    return Place("env", found[2])


def places(value: object) -> Iterator[tuple[int, Place]]:
    """The correct entries of a value of `secrets`, each with its number in the list."""
    if isinstance(value, list) and len(value) <= MOST_SECRETS:
        for number, entry in enumerate(value):
            with suppress(PydanticCustomError):
                yield number, place(entry)


def listed(value: object) -> object:
    """The value of `secrets`; a pydantic error if it is no list of one or two."""
    if not (isinstance(value, list) and 0 < len(value) <= MOST_SECRETS):
        raise wrong("it is not a list of one or two places, the second for a change of the secret")
    return value
