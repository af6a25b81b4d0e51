"""The OpenAPI document, made of the operations."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from console.api.operations import Operation
from console.api.parameters import Parameters
from console.problem_details import MEDIA_TYPE, ProblemDetails

_REF = "#/components/schemas/{model}"
_STATUSES = {
    "400": "a parameter is not valid",
    "401": "a login is required",
    "403": "the person lacks a role",
    "404": "there is no such thing",
    "503": "the read model cannot be read",
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the document; `version` is Bluetick's."""
    adapters = {one.id: TypeAdapter(one.result) for one in operations}
    adapters["problem"] = TypeAdapter(ProblemDetails)
    schemas, definitions = TypeAdapter.json_schemas(
        [(name, "serialization", adapter) for name, adapter in adapters.items()],
        ref_template=_REF,
    )
    found = {name: schema for (name, _), schema in schemas.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bluetick",
            "version": version,
            "description": "What the console shows. Times are Unix milliseconds UTC. Numbers, "
            "texts and payloads are masked unless `reveal=1`.",
        },
        "servers": [{"url": "/api/v1"}],
        "paths": {
            one.path: {"get": _described(one, found[one.id], found["problem"])}
            for one in operations
        },
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _described(
    operation: Operation, result: Mapping[str, Any], problem: Mapping[str, Any]
) -> dict[str, Any]:
    statuses = [one for one in _STATUSES if one != "404" or operation.missing]
    failures = {
        status: {
            "description": _STATUSES[status],
            "content": {MEDIA_TYPE: {"schema": problem}},
        }
        for status in statuses
    }
    found = {"description": "the result", "content": {"application/json": {"schema": result}}}
    return {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": list(_parameters(operation.parameters)),
        "responses": {"200": found, **failures},
    }


def _parameters(model: type[Parameters]) -> Iterator[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=_REF)
    needed = schema.get("required", ())
    for name, one in schema["properties"].items():
        kind = {key: value for key, value in one.items() if key not in ("title", "description")}
        described = {"description": one["description"]} if "description" in one else {}
        yield {
            "name": name,
            "in": "query",
            "required": name in needed,
            **described,
            "schema": _without_null(kind),
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out, and is never null."""
    choices = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    if schema.get("default", ...) is None:
        del schema["default"]
    return {**schema, **(choices[0] if choices else {})}
