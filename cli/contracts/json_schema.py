"""JSON Schemas (2020-12) of the published records, made from their types and notes. Pure.

The schemas describe what is written. A field that may be unknown is optional and never null. The
words of a vocabulary are listed with their meanings, and others are allowed: later versions add
some.
"""

from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from providers.rejection import CODES
from schemas.content import OPEN
from schemas.contract import KINDS, Kind
from schemas.field_notes import note_of
from schemas.schema_uri import schema_uri
from schemas.vocabularies import VOCABULARIES

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REFERENCE = "#/$defs/{name}"

WORDS = VOCABULARIES | {"Code": ("Why a dead letter cannot be processed.", {**CODES})}
"""Every list of words: its description, and the meaning of each."""

# Defaults that stand for a missing field, and say something about it.
_SAID = (bool, int, str)
_CONTAINERS = (list, dict, set)


def types() -> list[type[Struct]]:
    """Return the type of every published value and its headers, each once."""
    every = [one for kind in KINDS for one in (kind.value, kind.headers) if one is not None]
    return list(dict.fromkeys([*every, *OPEN.values()]))


def definitions(reference: str = REFERENCE) -> dict[str, Schema]:
    """Return the schema of every type and vocabulary by name; `reference` makes a `$ref`."""
    _, found = msgspec.json.schema_components(types(), ref_template=reference)
    known = structs()
    made = {name: _struct(known[name], schema, reference) for name, schema in found.items()}
    return made | {name: _vocabulary(name) for name in WORDS}


def value_schema(kind: Kind, every: Mapping[str, Schema]) -> Schema | None:
    """Return the schema document of a kind's value, with all that it refers to."""
    return None if kind.value is None else _document(kind.name, kind.value, every)


def headers_schema(type_: type[Struct], every: Mapping[str, Schema]) -> Schema:
    """Return the schema document of the headers of some kinds."""
    return _document(headers_name(type_), type_, every)


def headers_name(type_: type[Struct]) -> str:
    """Return the name of a headers' schema, such as `dead-letter-headers`."""
    return _dashed(type_.__name__)


def referred(schema: Any) -> Iterator[str]:
    """Yield the name of each definition that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from referred(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from referred(value)


def _dashed(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).removeprefix("-")


def _document(name: str, type_: type[Struct], every: Mapping[str, Schema]) -> Schema:
    used, waiting = dict[str, Schema](), list(referred(every[type_.__name__]))
    while waiting:
        one = waiting.pop()
        if one not in used:
            used[one] = every[one]
            waiting += referred(every[one])
    head = {"$schema": DIALECT, "$id": schema_uri(name)}
    return head | every[type_.__name__] | ({"$defs": dict(sorted(used.items()))} if used else {})


def structs() -> dict[str, type[Struct]]:
    """Return every struct behind the published types, by name."""
    found: dict[str, type[Struct]] = {}
    infos = [msgspec.inspect.type_info(one) for one in types()]
    while infos:
        info = infos.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                continue
            found[info.cls.__name__] = info.cls
            infos += [one.type for one in info.fields]
        elif isinstance(info, msgspec.inspect.UnionType):
            infos += info.types
        elif isinstance(info, msgspec.inspect.DictType):
            infos.append(info.value_type)
        elif isinstance(info, msgspec.inspect.ListType):
            infos.append(info.item_type)
    return found


def _struct(type_: type[Struct], schema: Schema, reference: str) -> Schema:
    """Return the schema of a struct, as it is written."""
    about = {"title": type_.__name__, "description": description(type_)}
    if schema["type"] != "object":  # written as an array
        return about | {key: schema[key] for key in ("type", "prefixItems", "minItems")}
    infos = {one.encode_name: one for one in fields(type_)}
    properties = {
        name: _property(type_, name, given, reference)
        for name, given in schema["properties"].items()
    }
    required = [name for name in properties if name not in infos or _always(infos[name])]
    return about | {"type": "object", "properties": properties, "required": required}


def description(type_: type[Struct]) -> str:
    """Return the first paragraph of a type's docstring, on one line."""
    return " ".join(cleandoc(type_.__doc__ or "").partition("\n\n")[0].split())


def _always(field: FieldInfo) -> bool:
    """Whether a field is written in every record.

    A computed default is written; and no field is ever written empty, so one whose default is
    empty is always given.
    """
    computed = field.default_factory not in (NODEFAULT, *_CONTAINERS)
    return field.required or computed or field.default == ""


def _property(type_: type[Struct], name: str, given: Schema, reference: str) -> Schema:
    """Return the schema of a field: what its value is, then what it means."""
    note = note_of(type_, name)
    value = _without_null(given)
    default = value.pop("default", None)
    if name in OPEN:
        value = {"$ref": reference.format(name=OPEN[name].__name__)}
    elif note.words:
        value = {"$ref": reference.format(name=note.words)}
    elif "enum" in value:
        value = _listed(value["enum"])
    value["description"] = note.text
    if isinstance(default, _SAID) and default != "":
        value["default"] = default
    if note.unit:
        value["x-unit"] = note.unit
    if note.personal:
        value["x-personal"] = note.personal
    if note.example is not None:
        value["examples"] = [note.example]
    return value


def _listed(words: list[str]) -> Schema:
    """Return the schema of words that are no vocabulary; one alone is a constant."""
    return {"const": words[0]} if len(words) == 1 else {"type": "string", "enum": words}


def _without_null(given: Schema) -> Schema:
    """Return the schema of a value that is left out where the type has None."""
    others = [one for one in given.get("anyOf", ()) if one != {"type": "null"}]
    if not others:
        return dict(given)
    rest = {key: value for key, value in given.items() if key != "anyOf"}
    return rest | (others[0] if len(others) == 1 else {"anyOf": others})


def _vocabulary(name: str) -> Schema:
    text, words = WORDS[name]
    known = [{"const": word, "description": meaning} for word, meaning in words.items()]
    later = {"type": "string", "description": "A word that a later version adds."}
    return {"title": name, "description": text, "anyOf": [*known, later]}
