"""Whether records are as the published schemas describe them, and their headers CloudEvents."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from jsonschema import Draft202012Validator

from cli.contracts.export import schemas
from cli.contracts.json_schema import headers_name
from schemas.contract import KINDS, Kind
from schemas.schema_uri import schema_uri
from tests.broker.reading import Written

_KINDS = {kind.name: kind for kind in KINDS}
# Topics with one kind of record.
_BY_TOPIC = {one.topic: one.name for one in KINDS if one.topic.startswith("quality")}
_ENVELOPED = ("statuses", "events", "inbound")


def check(records: Iterable[Written]) -> set[str]:
    """Check records of topics without namespace; returns the kinds that were there.

    All have valid CloudEvents headers; of each shape one is validated, with no field that the
    schemas lack.
    """
    shapes: dict[frozenset[str], tuple[Kind, Written]] = {}
    for one in records:
        kind = kind_of(one)
        shapes.setdefault(_shape(kind, one), (kind, one))
        if kind.topic in _ENVELOPED:
            check_cloud_event(kind, one)
    for kind, one in shapes.values():
        _validate(kind, one)
    return {kind.name for kind, _ in shapes.values()}


def check_cloud_event(kind: Kind, one: Written) -> None:
    """The CloudEvents SDK reads a record, and its attributes are those of its kind."""
    headers: Any = {name: value.encode() for name, value in one.headers.items()}
    message = KafkaMessage(headers, (one.key or "").encode(), msgspec.json.encode(one.value))
    event = from_binary_event(message)
    assert event.get_type() == f"bluetick.message.{kind.name}"
    assert event.get_dataschema() == schema_uri(kind.name)
    assert event.get_subject() == one.key
    assert event.get_data() == one.value


def kind_of(one: Written) -> Kind:
    """Return the kind of a record by its topic, and by its value or key."""
    if one.topic.startswith("raw."):
        return _KINDS["raw"]
    if one.topic == "dead-letters":
        return _KINDS["dead-letter"]
    if one.topic == "messages":
        return _KINDS["viewer" if (one.key or "").startswith("viewer/") else "message"]
    if one.topic in _BY_TOPIC:
        return _KINDS[_BY_TOPIC[one.topic]]
    name = one.value.get("event") or one.value["kind"]
    return _KINDS[f"{name}-observation" if one.topic == "observations" else name]


@cache
def _strict(name: str) -> Draft202012Validator:
    """Return a validator that accepts no field without a description."""
    return Draft202012Validator(_closed(schemas()[name]))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and isinstance(schema.get("required"), list):
        closed["additionalProperties"] = False
    return closed


def _validate(kind: Kind, one: Written) -> None:
    if kind.value is not None:
        _strict(kind.name).validate(one.value)
    if kind.name == "dead-letter":  # the raw record's own headers follow
        Draft202012Validator(schemas()[headers_name(kind.headers)]).validate(one.headers)
    else:
        _strict(headers_name(kind.headers)).validate(one.headers)


def _shape(kind: Kind, one: Written) -> frozenset[str]:
    """Return the fields of a record, and the kind of its content."""
    value = one.value if kind.value is not None else None
    content = value.get("content", {}) if value else {}
    return _paths(kind.name, [value, dict(one.headers)]) | {f"{kind.name}:{content.get('type')}"}


def _paths(where: str, value: Any) -> frozenset[str]:
    if isinstance(value, dict):
        inner = (_paths(f"{where}.{name}", one) for name, one in value.items())
        return frozenset(f"{where}.{name}" for name in value).union(*inner)
    if isinstance(value, list):
        return frozenset[str]().union(*(_paths(f"{where}[]", one) for one in value))
    return frozenset()
