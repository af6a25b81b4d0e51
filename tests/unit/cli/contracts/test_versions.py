"""Consumers of every published version read today's records, and today's code reads theirs."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from cli.contracts.examples import examples
from schemas import codec
from schemas.contract import KINDS
from tests import HOME

FOLDERS = sorted((HOME / "schemas/published").iterdir(), key=lambda one: int(one.name))
VALUES = {kind.name: kind.value.__name__ for kind in KINDS if kind.value is not None}
DECODERS: dict[str, Any] = {
    "observations": codec.decode_observation,
    "statuses": codec.decode_status,
    "events": codec.decode_event,
    "inbound": codec.decode_inbound,
}
versions = pytest.mark.parametrize("folder", FOLDERS, ids=lambda one: f"version {one.name}")


@versions
def test_its_schemas_accept_todays_records(folder: Path) -> None:
    """A consumer that validates by a published version is not stopped by a record of today."""
    for file in folder.glob("*.schema.json"):
        name = file.name.removesuffix(".schema.json")
        if name in VALUES:
            schema = json.loads(file.read_text())
            Draft202012Validator(schema).validate(examples()[name].value)


@versions
def test_its_types_read_todays_records(folder: Path) -> None:
    """A program that was built with the types of a published version decodes records of today."""
    made = ModuleType("bluetick_msgspec")
    exec((folder / "types/bluetick_msgspec.py").read_text(), made.__dict__)
    for name, type_ in VALUES.items():
        if hasattr(made, type_):
            msgspec.convert(examples()[name].value, getattr(made, type_))


@versions
def test_todays_code_reads_its_records(folder: Path) -> None:
    """The records of a published version, which topics may still hold, are decoded."""
    for file in (folder / "examples").iterdir():
        example = json.loads(file.read_text())
        topic = example["topic"].split(".")[1]
        value = json.dumps(example["value"]).encode()
        if topic in DECODERS:
            DECODERS[topic](value)
        elif topic == "messages":
            codec.decode_by_key(example["key"], value)
