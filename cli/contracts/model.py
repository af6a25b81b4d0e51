"""The published records as a model that is easy to print in any language. Pure.

The data dictionary and the types for consumers are printed from it.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from cli.contracts.json_schema import WORDS, definitions

Schema = Mapping[str, Any]


class Type(NamedTuple):
    """The type of a value: string, integer, number, boolean, any; a record or a vocabulary by name.

    A list and a map have the type of an `item`, a constant its `value`.
    """

    name: str
    item: "Type | None" = None
    value: str = ""


class Example(NamedTuple):
    """One record as it is on its topic; `value` is JSON, None if it is not."""

    topic: str
    key: str | None
    headers: dict[str, str]
    value: Any


class Field(NamedTuple):
    """One field of a record; `default` is what a missing field stands for, None if unknown.

    `example` is a value for a field that is rare.
    """

    name: str
    type: Type
    required: bool
    description: str
    default: Any = None
    unit: str = ""
    personal: str = ""
    example: Any = None

    @property
    def about(self) -> str:
        """The description, with the value that a missing field stands for."""
        absent = "" if self.default is None else f" Absent: `{str(self.default).lower()}`."
        return self.description + absent


class Record(NamedTuple):
    """One type of record, or a part of one."""

    name: str
    description: str
    fields: tuple[Field, ...]

    @property
    def constant(self) -> Field | None:
        """The field that holds the same word in all records of this type."""
        return next((one for one in self.fields if one.type.name == "constant"), None)


@cache
def records() -> Mapping[str, Record]:
    """Return every record and part by name, each after those that it holds."""
    every = definitions()
    ordered: dict[str, Record] = {}
    for name in every:
        _add(name, every, ordered)
    return ordered


def _add(name: str, every: Mapping[str, Schema], ordered: dict[str, Record]) -> None:
    if name in ordered or name in WORDS or every[name]["type"] == "array":
        return
    made = _record(name, every[name])
    for field in made.fields:
        inner: Type | None = field.type
        while inner is not None:
            if inner.name in every:
                _add(inner.name, every, ordered)
            inner = inner.item
    ordered[name] = made


def _record(name: str, schema: Schema) -> Record:
    required = schema["required"]
    given = schema["properties"].items()
    fields = tuple(_field(key, one, required=key in required) for key, one in given)
    return Record(name, schema["description"], fields)


def _field(name: str, schema: Schema, *, required: bool) -> Field:
    return Field(
        name,
        _type(schema),
        required,
        schema["description"],
        schema.get("default"),
        schema.get("x-unit", ""),
        schema.get("x-personal", ""),
        next(iter(schema.get("examples", ())), None),
    )


def _type(schema: Schema) -> Type:
    if "$ref" in schema:
        return Type(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return Type("constant", value=schema["const"])
    match schema.get("type"):
        case "array":
            return Type("list", _type(schema["items"]))
        case "object":
            return Type("map", _type(schema["additionalProperties"]))
        case str() as scalar:
            return Type(scalar)
        case _:
            return Type("any")
