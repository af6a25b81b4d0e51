"""The AsyncAPI document says what the definitions of topics and processors say."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cli.contracts.asyncapi import document
from cli.contracts.examples import examples
from providers import NAMES
from schemas.contract import KINDS
from schemas.processor_list import PROCESSORS
from schemas.topics import Topics

TOPICS = Topics("ns", providers=NAMES)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document("ns", 12, examples())


def test_each_topic_is_a_channel_with_its_kafka_settings(made: dict[str, Any]) -> None:
    """Names, partitions, cleanup and retention are those that `topics apply` creates."""
    channels = {one["address"]: one["bindings"]["kafka"] for one in made["channels"].values()}
    specs = {one.name: one for one in TOPICS.specs(12) if one.name not in TOPICS.raw_topics}
    assert channels.keys() == {*specs, "ns.raw.{provider}"}
    for name, spec in specs.items():
        assert channels[name]["partitions"] == spec.partitions
        config = channels[name]["topicConfiguration"]
        assert str(config.get("retention.ms", "")) == spec.config.get("retention.ms", "")
        assert ",".join(config["cleanup.policy"]) == spec.config["cleanup.policy"]
    assert made["channels"]["raw"]["parameters"]["provider"]["enum"] == list(NAMES)


def test_each_processor_has_its_operations_group_and_rights(made: dict[str, Any]) -> None:
    """It receives its inputs as its group and sends its outputs; rights follow from both."""
    for one in PROCESSORS:
        for kind in one.inputs:
            operation = made["operations"][f"{one.name}-receives-{kind}"]
            assert operation["bindings"]["kafka"]["groupId"]["enum"] == [f"ns.{one.name}"]
            assert "Read" in made["channels"][kind]["x-rights"][one.name]
        for kind in one.outputs:
            assert made["operations"][f"{one.name}-sends-{kind}"]["action"] == "send"
            assert "Write" in made["channels"][kind]["x-rights"][one.name]
    assert made["channels"]["raw"]["x-rights"]["track"] == ["Describe"]
    assert made["channels"]["events"]["x-rights"]["consumer"] == ["Describe", "Read"]


def test_each_message_has_key_headers_payload_and_a_valid_example(made: dict[str, Any]) -> None:
    """Every kind of record is a message of its channel, with its published schema."""
    messages, schemas = made["components"]["messages"], made["components"]["schemas"]
    assert list(messages) == [kind.name for kind in KINDS]
    for kind in KINDS:
        message = messages[kind.name]
        assert kind.name in made["channels"][kind.topic]["messages"]
        assert message["bindings"]["kafka"]["key"]["type"] == ("string" if kind.key else "null")
        [shown] = message["examples"]
        root = {"components": {"schemas": schemas}}
        Draft202012Validator(message["payload"] | root).validate(shown["payload"])
        Draft202012Validator(message["headers"] | root).validate(shown.get("headers", {}))
