"""The topics on a real broker: created, adjusted, and never repartitioned."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cli.processes import Service, running
from deploy import topics
from deploy.local_kafka.broker import free_port
from service.errors import Problem
from service.settings import Settings
from tests.broker.running_ingest import settings, until


async def _create(kafka: str, topic: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([topic])

        async def known() -> bool:
            """A busy broker knows the topic later than the controller."""
            return topic.name in await admin.list_topics()

        await until(known)
    finally:
        await admin.close()


async def _setting(kafka: str, topic: str, name: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, {name: ""})
        answers: list[Any] = await admin.describe_configs([wanted])
    finally:
        await admin.close()
    [[*_, [[_, value, *_]]]] = answers[0].resources
    return str(value)


async def test_apply_creates_the_topics_that_check_requires(kafka: str, namespace: str) -> None:
    """Missing topics are found, created once, found correct, deleted, and missing again."""
    given = settings(kafka, namespace, partitions=2)
    missing = await topics.check(given)
    assert len(missing) == len(given.topics.all)
    assert missing[0].startswith(f"the topic {given.topics.all[0]} does not exist; create it")
    created = await topics.apply(given)
    assert [line.split(":")[0] for line in created] == [f"created {n}" for n in given.topics.all]
    assert await topics.check(given) == []
    await topics.require(given)
    assert await topics.apply(given) == []
    assert await topics.drop(given) == [f"deleted {name}" for name in given.topics.all]
    assert await topics.check(given) == missing
    assert await topics.drop(given) == []


async def test_a_missing_setting_is_added_and_the_others_stay(kafka: str, namespace: str) -> None:
    """A topic made by hand gets missing settings and keeps the others; differences are reported.

    Kafka replaces all settings of a topic at once, so those of the user must be sent too.
    """
    given = settings(kafka, namespace, partitions=2)
    name = given.topics.messages
    own = {"retention.ms": "1234567890", "segment.bytes": "1234567"}
    await _create(kafka, NewTopic(name, 2, 1, topic_configs=own))
    done = [line for line in await topics.apply(given) if line.startswith("set ")]
    assert f"set cleanup.policy=compact,delete on {name}" in done
    assert not [line for line in done if "retention.ms=" in line and "delete." not in line]
    [finding] = await topics.check(given)
    assert finding.startswith(f"the topic {name} has retention.ms=1234567890, where ")
    assert await _setting(kafka, name, "segment.bytes") == "1234567"
    assert await topics.apply(given) == []
    await topics.require(given)


async def test_a_wrong_number_of_partitions_is_a_problem(kafka: str, namespace: str) -> None:
    """The number is reported and never changed; nothing else is changed either."""
    given = settings(kafka, namespace, partitions=2)
    await _create(kafka, NewTopic(given.topics.statuses, 3, 1))
    sentence = f"the topic {given.topics.statuses} has 3 partitions, not the 2"
    with pytest.raises(Problem, match=sentence):
        await topics.apply(given)
    findings = await topics.check(given)
    assert [line for line in findings if line.startswith(sentence)]
    assert sum("does not exist" in line for line in findings) == len(given.topics.all) - 1
    await topics.apply(settings(kafka, namespace, partitions=3))
    with pytest.raises(Problem, match="has 3 partitions, not the 2"):
        await topics.require(given)


async def test_a_refusal_of_kafka_is_a_problem(kafka: str, namespace: str) -> None:
    """More replicas than brokers: the problem has Kafka's reason, which aiokafka does not raise."""
    given = settings(kafka, namespace, partitions=1, replication=99)
    with pytest.raises(Problem, match=rf"^Kafka refused to create {namespace}.*[Rr]eplication"):
        await topics.apply(given)


async def test_a_service_needs_its_input_topics_only(settings: Settings) -> None:
    """The normaliser continues after a namespace was dropped with --keep-inputs."""
    await topics.drop(settings, settings.topics.needed("normalise"))
    service = Service("normalise", settings.health_port("normalise"))
    async with running(settings, [service], lambda *_: None) as [normaliser]:  # until it is ready
        assert normaliser.service == service
    with pytest.raises(Problem, match=r"\.statuses does not exist; create it"):
        await topics.require(settings, settings.topics.needed("track"))


async def test_silence_is_a_problem(namespace: str) -> None:
    """An unreachable broker is named by address and setting."""
    address = f"127.0.0.1:{free_port(0)}"
    for work in (topics.check, topics.require, topics.apply, topics.drop):
        with pytest.raises(Problem, match=rf"^Kafka does not answer at {address} \(BLUETICK_KAFKA"):
            await work(settings(address, namespace))
