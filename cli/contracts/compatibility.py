"""Whether consumers of one version of the schemas can read records of a later one. Pure.

docs/compatibility.md has the rules. A version maps the names of schemas to schemas.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
Version = Mapping[str, Schema]

_PLAIN = ("const", "enum", "type", "default", "x-unit")


def breaches(old: Version, new: Version) -> list[str]:
    """Return each breach of the rules between two versions, in one sentence each."""
    return [text for name in old for text in _of_document(name, old[name], new.get(name))]


def _of_document(name: str, old: Schema, new: Schema | None) -> Iterator[str]:
    if new is None:
        yield f"{name}: the kind of record was removed"
        return
    yield from _of_schema(name, old, new)
    parts = new.get("$defs", {})
    for part, schema in old.get("$defs", {}).items():
        if part in parts:  # else nothing refers to it, and that is reported there
            yield from _of_schema(f"{name}: {part}", schema, parts[part])


def _of_schema(where: str, old: Schema, new: Schema) -> Iterator[str]:
    """Compare two schemas of one value."""
    yield from (
        f"{where}: `{key}` was {old.get(key)!r} and is {new.get(key)!r}"
        for key in _PLAIN
        if old.get(key) != new.get(key)
    )
    if old.get("$ref") != new.get("$ref"):
        yield f"{where}: it was {_named(old)} and is {_named(new)}"
    words = {one["const"] for one in new.get("anyOf", ()) if "const" in one}
    for one in old.get("anyOf", ()):
        if "const" in one and one["const"] not in words:
            yield f"{where}: the word {one['const']!r} was removed"
    for key in ("items", "additionalProperties"):
        if key in old:
            yield from _of_schema(f"{where}[]", old[key], new.get(key, {}))
    if old.get("prefixItems", []) != new.get("prefixItems", []):
        yield f"{where}: the items of an array changed"
    yield from _of_fields(where, old, new)


def _of_fields(where: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    always, still = set(old.get("required", ())), set(new.get("required", ()))
    for name, schema in before.items():
        if name not in after:
            yield f"{where}.{name}: the field was removed"
            continue
        yield from _of_schema(f"{where}.{name}", schema, after[name])
    yield from (f"{where}.{name}: it may be absent now" for name in sorted(always - still))
    for name in sorted(still - always):
        yield f"{where}.{name}: it is required, but earlier records may lack it"


def _named(schema: Schema) -> str:
    return str(schema.get("$ref", "a plain value")).rpartition("/")[2]
