"""The version of the published schemas, and the URI of each: the header `ce_dataschema`. Pure.

The rules for a new version are in docs/compatibility.md.
"""

VERSION = 1

_PREFIX = "bluetick.message."


def schema_uri(name: str, version: int = VERSION) -> str:
    """Return the URI of a schema, its `$id`; it is a name, not a place to fetch it from."""
    return f"urn:bluetick:schema:{version}:{name}"


def schema_of(type_: str) -> str | None:
    """Return the URI of the schema of a CloudEvents type; None for a type without a schema."""
    return schema_uri(type_.removeprefix(_PREFIX)) if type_.startswith(_PREFIX) else None
