"""The place of a secret: `env:NAME` or `file:/path`. The sources file holds no secret. Pure."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic_core import PydanticCustomError

from ingest.sources.mistakes import mistake, wrong

# Two, so that a new secret can be used before the old one is removed.
MOST_SECRETS = 2

_PLACE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\x00-\x1f]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a secret: an environment variable or a file."""

    kind: Literal["env", "file"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def place(entry: object) -> Place:
    """Return the place that an entry of `secrets` names; raises a pydantic error."""
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
    """Yield the valid entries of a value of `secrets`, each with its index."""
    if isinstance(value, list) and len(value) <= MOST_SECRETS:
        for number, entry in enumerate(value):
            with suppress(PydanticCustomError):
                yield number, place(entry)


def listed(value: object) -> object:
    """Return the value of `secrets`; raises a pydantic error unless it is a list of one or two."""
    if not (isinstance(value, list) and 0 < len(value) <= MOST_SECRETS):
        raise wrong("it is not a list of one or two places, the second for a change of the secret")
    return value
