"""Which changes of a schema break a consumer of the version before."""

from copy import deepcopy
from typing import Any

import pytest

from cli.contracts.compatibility import breaches

OLD: dict[str, Any] = {
    "one": {
        "type": "object",
        "properties": {
            "kind": {"const": "one"},
            "period": {"type": "string", "enum": ["day", "hour"]},
            "at": {"type": "integer", "x-unit": "ms"},
            "status": {"$ref": "#/$defs/Status"},
            "flag": {"type": "boolean", "default": False},
            "names": {"type": "array", "items": {"type": "string"}},
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "rank": {"type": "array", "prefixItems": [{"type": "integer"}]},
            "part": {"$ref": "#/$defs/Part"},
        },
        "required": ["kind", "at"],
        "$defs": {
            "Status": {"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "string"}]},
            "Part": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
        },
    }
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the schemas with one value set, or removed for None."""
    new = deepcopy(OLD)
    *parents, last = path.split("/")
    node: Any = new["one"]
    for name in parents:
        node = node[int(name)] if isinstance(node, list) else node[name]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return new


@pytest.mark.parametrize(
    ("path", "value", "breach"),
    [
        ("properties/at", None, "one.at: the field was removed"),
        ("properties/kind/const", "two", "one.kind: `const` was 'one' and is 'two'"),
        (
            "properties/period/enum",
            ["day"],
            "one.period: `enum` was ['day', 'hour'] and is ['day']",
        ),
        ("properties/at/type", "string", "one.at: `type` was 'integer' and is 'string'"),
        ("properties/at/x-unit", "s", "one.at: `x-unit` was 'ms' and is 's'"),
        ("properties/flag/default", True, "one.flag: `default` was False and is True"),
        ("properties/status", {"$ref": "#/$defs/Part"}, "one.status: it was Status and is Part"),
        ("properties/names/items/type", "integer", "one.names[]: `type` was"),
        ("properties/counts/additionalProperties/type", "string", "one.counts[]: `type` was"),
        ("properties/rank/prefixItems", [], "one.rank: the items of an array changed"),
        ("required", ["kind"], "one.at: it may be absent now"),
        ("required", ["kind", "at", "flag"], "one.flag: it is required, but earlier records"),
        ("$defs/Status/anyOf", [{"const": "a"}], "one: Status: the word 'b' was removed"),
        ("$defs/Part/properties", {}, "one: Part.x: the field was removed"),
        ("$defs/Part/required", [], "one: Part.x: it may be absent now"),
    ],
)
def test_a_breach_is_named(path: str, value: Any, breach: str) -> None:
    """Each rule of docs/compatibility.md, broken."""
    [found] = breaches(OLD, changed(path, value))
    assert found.startswith(breach)


def test_a_removed_kind_of_record_is_a_breach() -> None:
    """Consumers of that kind would wait for ever."""
    assert breaches(OLD, {}) == ["one: the kind of record was removed"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties/new", {"type": "string"}),
        ("properties/at/description", "other words"),
        ("properties/at/x-personal", "number"),
        ("$defs/Status/anyOf/2", {"const": "c"}),
        ("$defs/New", {"type": "object"}),
    ],
)
def test_an_addition_is_none(path: str, value: Any) -> None:
    """New optional fields, words and descriptions break nobody; nor does a new kind."""
    if path.endswith("/2"):
        new = deepcopy(OLD)
        new["one"]["$defs"]["Status"]["anyOf"].append(value)
    else:
        new = changed(path, value)
    assert breaches(OLD, new | {"two": {}}) == []
    assert breaches(OLD, OLD) == []


def test_a_new_required_field_is_a_breach() -> None:
    """Records of the earlier version, which topics still hold, lack it."""
    new = changed("properties/new", {"type": "string"})
    new["one"]["required"] = ["kind", "at", "new"]
    assert breaches(OLD, new) == ["one.new: it is required, but earlier records may lack it"]
