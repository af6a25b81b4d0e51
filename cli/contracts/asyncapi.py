"""The AsyncAPI 3 document: channels, messages and operations, with their Kafka bindings. Pure.

It is made from the definitions of topics and processors, and from the published schemas. A
namespace's own prefix and number of partitions may differ from the defaults that it shows.
"""

from collections.abc import Mapping
from typing import Any

from cli.contracts.json_schema import definitions
from cli.contracts.model import Example
from providers import NAMES
from schemas.contract import KINDS, Kind
from schemas.processor_list import PROCESSORS, TopicKind
from schemas.schema_uri import VERSION, schema_of
from schemas.topics import Topics, TopicSpec

Object = dict[str, Any]

_BINDING = "0.5.0"
_REFERENCE = "#/components/schemas/{name}"

_TOPICS: dict[TopicKind, tuple[str, str]] = {
    "raw": ("Raw webhooks", "Each webhook of a provider, byte for byte."),
    "observations": ("Observations", "What each webhook reports, normalised. It may repeat."),
    "statuses": ("Statuses", "Each new fact once, with its verdict."),
    "events": ("Events", "Each change of a message's state once, and alarms."),
    "messages": ("Messages", "The state of each message and viewer; the tracker's changelog."),
    "inbound": ("Inbound messages", "Each message of a person once, and each correction once."),
    "dead-letters": ("Dead letters", "What could not be processed, verbatim, with its reason."),
    "quality": ("Delivery quality", "The figures of each route and period, the newest counts."),
    "quality-changes": ("Changes of quality", "For the processor alone: what to add to cells."),
    "quality-contributions": (
        "Contributions to quality",
        "For the processor alone: what the cells hold of each message.",
    ),
}

_ONCE = "Read at `isolation.level=read_committed`: then each record is there once."


def document(namespace: str, partitions: int, examples: Mapping[str, Example]) -> Object:
    """Return the document of a namespace's topics; `examples` has one of each kind."""
    topics = Topics(namespace, providers=NAMES)
    specs = {spec.name: spec for spec in topics.specs(partitions)}
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "localhost:9092",
                "protocol": "kafka",
                "description": "The default of BLUETICK_KAFKA.",
                "bindings": {"kafka": {"bindingVersion": _BINDING}},
            }
        },
        "channels": {
            **{kind: _channel(kind, topics, specs) for kind in _TOPICS},
            "clocks": _clocks(specs[topics.clocks]),
            "audit": _audit(specs[topics.audit]),
        },
        "operations": _operations(topics),
        "components": {
            "messages": {kind.name: _message(kind, examples[kind.name]) for kind in KINDS},
            "schemas": definitions(_REFERENCE),
        },
    }


def _info() -> Object:
    return {
        "title": "Bluetick",
        "version": str(VERSION),
        "description": (
            "Delivery webhooks of messaging providers, turned into one lifecycle per message. "
            "The names of topics and groups begin with the namespace, `bluetick` by default. "
            "A record's partition is `crc32(key) % partitions`, the same number on each topic "
            "with keys. Fields and words may be added: ignore those that are not known. "
            "With ACLs, a consumer needs Describe and Read on a topic, and Read on its group."
        ),
        "license": {"name": "Apache-2.0"},
    }


def _channel(kind: TopicKind, topics: Topics, specs: Mapping[str, TopicSpec]) -> Object:
    title, summary = _TOPICS[kind]
    names = [topics.raw(provider) for provider in NAMES] if kind == "raw" else []
    spec = specs[names[0] if names else f"{topics.namespace}.{kind}"]
    channel: Object = {
        "address": topics.raw("{provider}") if names else spec.name,
        "title": title,
        "description": summary,
        "messages": {one.name: _ref("messages", one.name) for one in KINDS if one.topic == kind},
        "bindings": {"kafka": _topic_binding(spec)},
        "x-rights": _rights(kind),
    }
    if names:
        channel["parameters"] = {"provider": {"enum": list(NAMES)}}
    return channel


def _clocks(spec: TopicSpec) -> Object:
    services = ["ingest", *(one.name for one in PROCESSORS)]
    return {
        "address": spec.name,
        "title": "Clocks",
        "description": "Services write to it to learn Kafka's time. No program reads it.",
        "messages": {},
        "bindings": {"kafka": _topic_binding(spec)},
        "x-rights": {name: ["Describe", "Write"] for name in services},
    }


def _audit(spec: TopicSpec) -> Object:
    return {
        "address": spec.name,
        "title": "Audit log",
        "description": "Who logged in to the console, revealed, retried or replayed what.",
        "messages": {},
        "bindings": {"kafka": _topic_binding(spec)},
        "x-rights": {"console": ["Describe", "Write"]},
    }


def _topic_binding(spec: TopicSpec) -> Object:
    numbers = ("retention.ms", "delete.retention.ms", "max.message.bytes")
    config: Object = {name: int(spec.config[name]) for name in numbers if name in spec.config}
    config["cleanup.policy"] = spec.config["cleanup.policy"].split(",")
    return {
        "partitions": spec.partitions,
        "topicConfiguration": config,
        "bindingVersion": _BINDING,
    }


def _rights(kind: TopicKind) -> Object:
    """Return who may do what with a topic; `consumer` is any other service."""
    rights: Object = {"ingest": ["Describe", "Write"]} if kind == "raw" else {}
    for one in PROCESSORS:
        reads = kind in one.inputs
        writes = kind in one.outputs
        # A processor that keeps state reads back what it has written, when it recovers.
        read = ["Read"] if reads or (writes and one.keeps_state) else []
        if reads or writes or kind in one.asks:
            rights[one.name] = ["Describe", *read, *(["Write"] if writes else [])]
    return rights | {"consumer": ["Describe", "Read"]}


def _operations(topics: Topics) -> Object:
    made: Object = {"ingest-sends-raw": _operation("send", "raw", "ingest", None)}
    for one in PROCESSORS:
        group = topics.group(one.name)
        for kind in one.inputs:
            made[f"{one.name}-receives-{kind}"] = _operation("receive", kind, one.name, group)
        for kind in one.outputs:
            operation = _operation("send", kind, one.name, None)
            if one.keeps_state:
                operation["x-transactional-ids"] = f"{topics.group(one.name)}.*"
            made[f"{one.name}-sends-{kind}"] = operation
    return made


def _operation(action: str, kind: str, service: str, group: str | None) -> Object:
    binding: Object = {"bindingVersion": _BINDING}
    operation: Object = {
        "action": action,
        "channel": {"$ref": f"#/channels/{kind}"},
        "summary": f"{service} {action}s {kind}",
    }
    if group:
        binding["groupId"] = {"type": "string", "enum": [group]}
        operation["x-group-rights"] = {service: ["Describe", "Read"]}
    return operation | {"bindings": {"kafka": binding}}


def _message(kind: Kind, example: Example) -> Object:
    key: Object = {"type": "string", "description": kind.key} if kind.key else {"type": "null"}
    message: Object = {
        "name": kind.name,
        "title": kind.name,
        "contentType": "application/json",
        "payload": _payload(kind),
        "bindings": {"kafka": {"key": key, "bindingVersion": _BINDING}},
        "headers": _ref("schemas", kind.headers.__name__),
    }
    if kind.topic in ("statuses", "events", "inbound", "messages", "quality"):
        message["description"] = _ONCE
    if schema := schema_of(example.headers.get("ce_type", "")):
        message["x-ce-dataschema"] = schema
    shown: Object = {"name": kind.name, "payload": example.value}
    if example.headers:
        shown["headers"] = example.headers
    return message | {"examples": [shown]}


def _payload(kind: Kind) -> Object:
    if kind.value is None:
        return {"description": "The sender's own bytes: usually JSON of a provider."}
    return _ref("schemas", kind.value.__name__)


def _ref(group: str, name: str) -> Object:
    return {"$ref": f"#/components/{group}/{name}"}
