"""The published versions in this installation: `schemas/published/<version>/`."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

ENDING = ".schema.json"


def versions() -> dict[int, dict[str, Any]]:
    """Return the schemas of each published version by their names, oldest version first."""
    folder = resources.files("schemas") / "published"
    found = [entry for entry in folder.iterdir() if entry.name.isdecimal()]
    return {int(one.name): read(one) for one in sorted(found, key=lambda one: int(one.name))}


def read(folder: Traversable) -> dict[str, Any]:
    """Return the schemas in a folder of one version, by their names."""
    return dict(sorted(_schemas(folder)))


def _schemas(folder: Traversable) -> Iterator[tuple[str, Any]]:
    for file in folder.iterdir():
        if file.name.endswith(ENDING):
            yield file.name.removesuffix(ENDING), msgspec.json.decode(file.read_bytes())
