"""Compares the topics on the broker with the expected ones; creates, adjusts and deletes them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from schemas.rights import Operation
from schemas.topics import TopicSpec
from service.errors import Problem
from service.kafka.admin import administering, hidden
from service.kafka.causes import Refused, refused_right
from service.kafka.failures import lacking
from service.settings import Settings

_CHANGE_SECONDS = 15.0
_LOOK_SECONDS = 0.05

# With three replicas a write waits for two of them: the loss of one broker loses no record.
_SAFE_REPLICATION = 3

_VERBS: dict[Operation, str] = {
    "AlterConfigs": "configure",
    "Create": "create",
    "Delete": "delete",
    "DescribeConfigs": "describe",
}

# Kafka's code for a value set on the topic itself, not inherited from the broker.
_OWN = 1


@dataclass(frozen=True)
class Topic:
    """A topic on the broker: `own` holds the values set on it, `config` all effective values."""

    partitions: int
    replication: int
    config: Mapping[str, str]
    own: Mapping[str, str]


async def check(settings: Settings) -> list[str]:
    """Return one sentence for each deviation; raise `Problem` if Kafka does not answer."""
    async with administering(settings) as admin:
        found = await _describe(admin, settings)
    counts = {name: topic.partitions for name, topic in found.items()}
    return [str(one) for one in _foreign_findings(settings, counts)] + [
        finding for spec in _specs(settings) for finding in _findings(spec, found.get(spec.name))
    ]


async def describe(settings: Settings) -> dict[str, Topic]:
    """Return the existing topics of the namespace, by name."""
    async with administering(settings) as admin:
        return await _describe(admin, settings)


async def require(settings: Settings, needed: Collection[str] | None = None) -> None:
    """Raise `Problem` unless topics exist and have the expected number of partitions.

    `needed`: the names of the topics to check; None: all.
    """
    async with administering(settings) as admin:
        found = await _list(admin, settings.topics.required if needed is None else needed)
    _refuse_foreign(settings, {name: len(there) for name, there in found.items()})
    for spec in _specs(settings):
        if needed is not None and spec.name not in needed:
            continue
        if spec.name not in found:
            raise _missing(spec.name)
        if len(found[spec.name]) != spec.partitions:
            raise _mismatch(spec.name, len(found[spec.name]), spec.partitions)


async def require_foreign(settings: Settings) -> None:
    """Raise `Problem` unless the foreign topics exist with the expected number of partitions."""
    async with administering(settings) as admin:
        found = await _list(admin, settings.topics.foreign)
    _refuse_foreign(settings, {name: len(there) for name, there in found.items()})


async def apply(settings: Settings) -> list[str]:
    """Create missing topics, add missing settings; return one sentence for each change.

    A value that is set on a topic is never changed: `check` reports it. A wrong number of
    partitions raises a `Problem` before any change.
    """
    async with administering(settings) as admin:
        found = await _describe(admin, settings)
        wrong = [
            _mismatch(spec.name, found[spec.name].partitions, spec.partitions)
            for spec in _specs(settings)
            if spec.name in found and found[spec.name].partitions != spec.partitions
        ]
        if wrong:
            raise Problem("partition_mismatches", **wrong[0].fields, more=len(wrong) - 1)
        _refuse_foreign(settings, {name: topic.partitions for name, topic in found.items()})
        lacking = [spec for spec in _specs(settings) if spec.name not in found]
        created = await _create(admin, settings, lacking)
        return created + await _adjust(admin, settings, found)


async def partitions(settings: Settings) -> dict[str, int]:
    """Return the number of partitions of every topic on the broker."""
    async with administering(settings) as admin:
        return {name: len(there) for name, there in (await _list(admin)).items()}


async def drop(settings: Settings, keep: Collection[str] = ()) -> list[str]:
    """Delete the topics of the namespace, with all their records; return one sentence for each.

    Foreign topics and those in `keep` stay.
    """
    async with administering(settings) as admin:
        there = await _list(admin)
        own = (spec.name for spec in _specs(settings))
        names = [name for name in own if name in there and name not in keep]
        if names:
            answer: Any = await admin.delete_topics(names)
            for name, code, *_ in answer.topic_error_codes:
                if code != UnknownTopicOrPartitionError.errno:
                    _raise_for_code(settings, code, None, "Delete", name)

            async def gone() -> bool:
                return (await _list(admin)).keys().isdisjoint(names)

            await _until(gone)
    return [f"deleted {name}" for name in names]


def _specs(settings: Settings) -> list[TopicSpec]:
    return settings.topics.specs(settings.partitions)


def expected(spec: TopicSpec, replication: int) -> dict[str, str]:
    """Return the broker settings of a topic with so many replicas."""
    safe = {"min.insync.replicas": "2"} if replication >= _SAFE_REPLICATION else {}
    return spec.config | safe


def _missing(topic: str) -> Problem:
    return Problem("topic_missing", topic=topic, where="")


def _mismatch(topic: str, found: int, expected: int) -> Problem:
    return Problem("partition_mismatch", topic=topic, found=found, expected=expected)


def _foreign_findings(settings: Settings, found: Mapping[str, int]) -> list[Problem]:
    """Return what is wrong with foreign topics: their number of partitions must be the same."""
    findings = []
    for name in settings.topics.foreign:
        if name not in found:
            findings.append(Problem("foreign_topic_missing", topic=name))
        elif found[name] != settings.partitions:
            findings.append(_mismatch(name, found[name], settings.partitions))
    return findings


def _refuse_foreign(settings: Settings, found: Mapping[str, int]) -> None:
    for finding in _foreign_findings(settings, found):
        raise finding


def _findings(spec: TopicSpec, topic: Topic | None) -> list[str]:
    if topic is None:
        return [str(_missing(spec.name))]
    matches = topic.partitions == spec.partitions
    findings = [] if matches else [str(_mismatch(spec.name, topic.partitions, spec.partitions))]
    return findings + [
        f"the topic {spec.name} has {name}={found}, where {value} is expected"
        for name, (found, value) in deviations(spec, topic).items()
    ]


def deviations(spec: TopicSpec, topic: Topic) -> dict[str, tuple[str | None, str]]:
    """Return the settings of a topic that differ: the value found, and the expected one."""
    return {
        name: (topic.config.get(name), value)
        for name, value in expected(spec, topic.replication).items()
        if topic.config.get(name) != value
    }


async def _list(admin: AIOKafkaAdminClient, wanted: Collection[str] = ()) -> dict[str, list[Any]]:
    """Return the partitions of every topic. A request for all topics never creates one.

    Raises `TopicAuthorizationFailedError` for `wanted` topics that this user may not describe.
    """
    topics = await admin.describe_topics()
    found = {topic["topic"]: topic["partitions"] for topic in topics if not topic["error_code"]}
    if denied := await hidden(admin, [name for name in wanted if name not in found]):
        raise TopicAuthorizationFailedError(denied)
    return found


async def _describe(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, Topic]:
    """Return the existing topics of the namespace, by name.

    Raises `Problem` for a topic that this user may not describe: it may exist.
    """
    partitions = await _list(admin)
    absent = [name for name in settings.topics.all if name not in partitions]
    if denied := await hidden(admin, absent):
        raise lacking(settings, Refused("topic", tuple(denied)), "Describe")
    names = [name for name in settings.topics.all if name in partitions]
    configs = await _configs(admin, settings, names) if names else {}
    return {
        name: Topic(
            partitions=len(partitions[name]),
            replication=min(len(partition["replicas"]) for partition in partitions[name]),
            config={entry[0]: entry[1] for entry in configs[name]},
            own={entry[0]: entry[1] for entry in configs[name] if entry[3] == _OWN},
        )
        for name in names
    }


async def _configs(
    admin: AIOKafkaAdminClient, settings: Settings, names: list[str]
) -> dict[str, list[Any]]:
    """Return, by topic, the entries (name, value, read-only, source, …) of its configuration."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = {}
    answers: list[Any] = await admin.describe_configs(resources)
    for answer in answers:
        for code, message, _, name, entries in answer.resources:
            _raise_for_code(settings, code, message, "DescribeConfigs", name)
            configs[name] = entries
    return configs


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, specs: list[TopicSpec]
) -> list[str]:
    """Create topics and wait until they have leaders; another process may create them first."""
    if not specs:
        return []
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = settings.replication or min(_SAFE_REPLICATION, brokers)
    answer: Any = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, copies, topic_configs=expected(spec, copies))
            for spec in specs
        ]
    )
    for name, code, message in answer.topic_errors:
        if code != TopicAlreadyExistsError.errno:
            _raise_for_code(settings, code, message, "Create", name)

    async def have_leaders() -> bool:
        topics = await _list(admin)
        return all(_has_leaders(topics.get(spec.name, [])) for spec in specs)

    await _until(have_leaders)
    return [f"created {spec.name}: {spec.partitions} partitions, {copies} copies" for spec in specs]


def _has_leaders(partitions: list[Any]) -> bool:
    """Whether every partition of a topic has a leader, so that it can be written."""
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)


async def _adjust(
    admin: AIOKafkaAdminClient, settings: Settings, found: Mapping[str, Topic]
) -> list[str]:
    """Set missing settings of topics, and wait until they are in effect."""
    lacking = _lacking(settings, found)
    for name, values in lacking.items():
        # AlterConfigs replaces all values set on a topic, so the others are sent again.
        config = {**found[name].own, **values}
        resource = ConfigResource(ConfigResourceType.TOPIC, name, config)
        answers: list[Any] = await admin.alter_configs([resource])
        for answer in answers:
            for code, message, *_ in answer.resources:
                _raise_for_code(settings, code, message, "AlterConfigs", name)

    async def adjusted() -> bool:
        return not _lacking(settings, await _describe(admin, settings))

    if lacking:
        await _until(adjusted)
    return [
        f"set {setting}={value} on {name}"
        for name, values in lacking.items()
        for setting, value in values.items()
    ]


def _lacking(settings: Settings, found: Mapping[str, Topic]) -> dict[str, dict[str, str]]:
    """Return, by topic, the expected settings that are not set and have another value."""
    lacking = {}
    for spec in _specs(settings):
        if topic := found.get(spec.name):
            lacking[spec.name] = {
                name: value
                for name, value in expected(spec, topic.replication).items()
                if topic.config.get(name) != value and name not in topic.own
            }
    return {name: values for name, values in lacking.items() if values}


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the brokers report the change that the controller accepted."""
    try:
        async with asyncio.timeout(_CHANGE_SECONDS):
            while True:
                if await done():
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise Problem("topics_unfinished", seconds=_CHANGE_SECONDS) from None


def _raise_for_code(
    settings: Settings, code: int, message: str | None, operation: Operation, topic: str
) -> None:
    """Raise `Problem` for an error code: aiokafka does not raise the errors in answers."""
    if refused := refused_right(for_code(code)(topic)):
        raise lacking(settings, refused, operation)
    if code:
        what = f"{_VERBS[operation]} {topic}"
        reason = message or for_code(code).description or for_code(code).__name__
        too_many = code == InvalidReplicationFactorError.errno
        raise Problem(
            "kafka_refused", what=what, why=reason.rstrip("."), too_many_replicas=too_many
        )
