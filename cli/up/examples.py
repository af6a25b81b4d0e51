"""The sample webhooks of the demo and the tests, one per file."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from providers import NAMES


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The expected results of a sample, written by hand from the provider's documents.

    `observations` has the significant fields of each, in order; nested values are complete.
    `dead_letters` counts by code, `ignored` by event.
    """

    observations: list[dict[str, Any]] = []
    dead_letters: dict[str, int] = {}
    ignored: dict[str, int] = {}


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One webhook as its provider sends it to `/webhooks/<source><path>`; `body` is verbatim."""

    description: str
    source: str
    body: msgspec.Raw
    expect: Expected
    method: str = "POST"
    path: str = ""
    headers: dict[str, str] = {}
    name: str = ""


_decoder = msgspec.json.Decoder(Sample)


def load() -> list[Sample]:
    """Return every sample, named `<provider>/<file>`, in the order of the names."""
    samples = []
    for provider in NAMES:
        for file in _sorted(resources.files(f"providers.{provider}") / "examples"):
            sample = _decoder.decode(file.read_bytes())
            name = f"{provider}/{file.name.removesuffix('.json')}"
            samples.append(msgspec.structs.replace(sample, name=name))
    return samples


def shortest() -> Sample | None:
    """Return the first provider's shortest example of one status by a plain POST."""
    reports = [
        sample
        for sample in load()
        if sample.source == NAMES[0]
        and [one.get("kind") for one in sample.expect.observations] == ["status"]
        and (sample.method, sample.path, sample.headers) == ("POST", "", {})
    ]
    return min(reports, key=lambda sample: len(bytes(sample.body)), default=None)


def _sorted(folder: Traversable) -> Iterator[Traversable]:
    return iter(sorted(folder.iterdir(), key=lambda entry: entry.name))
