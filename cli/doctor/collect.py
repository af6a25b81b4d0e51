"""Collects the facts for `bluetick doctor`: from Kafka, the spool and the disks."""

import os
import platform
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from sqlite3 import Error as DatabaseError
from types import MappingProxyType
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, TopicAuthorizationFailedError, for_code

from cli import groups
from cli.doctor.collect_ingest import last_records
from cli.doctor.facts import (
    Broker,
    Clock,
    Disk,
    Group,
    Place,
    Replicas,
    Rights,
    Slot,
    Spool,
    Topic,
    Versions,
)
from cli.group_moves import Position
from deploy import consumer_groups, topics
from deploy.local_kafka.jars import VERSION
from ingest.spool import slots
from ingest.spool.database import FILE, look
from processors.runtime.consumer_groups import watching
from schemas.codec import UndecodableError, format_of
from schemas.coordinates import Partition
from schemas.records import STATE_VERSION
from service.errors import Problem
from service.kafka.admin import administering, ask
from service.kafka.admin_requests import DescribeCluster, DescribeFeatures, finalized, given
from service.kafka.causes import RIGHT_CAUSES
from service.kafka.clock import KafkaTime
from service.setting_names import variable
from service.settings import Settings
from service.version import __version__
from service.wall_clock import now_ms

_DESCRIBE = 1 << 8  # Kafka's bit of the operation
_SETTINGS = (
    "auto.create.topics.enable",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "offsets.retention.minutes",
    "request.timeout.ms",
    "transaction.max.timeout.ms",
)
# The last records of a partition among which the newest state is looked for.
_LAST_RECORDS = 20
_ROOM_SHARE = 1.1  # of the bound of the spool: SQLite needs some more


async def broker(settings: Settings) -> Broker:
    """Return the cluster and its brokers' settings."""
    async with administering(settings) as admin:
        cluster = await ask(admin, DescribeCluster([]))
        brokers = {id_: f"{host}:{port}" for id_, host, port, _ in cluster.brokers}
        settings_, refused = await _broker_settings(admin, [*brokers])
        return Broker(
            addresses=settings.kafka,
            brokers=brokers,
            controller=cluster.controller_id if cluster.controller_id >= 0 else None,
            features=await _features(admin),
            operations=given(cluster.operations),
            settings=settings_,
            refused=refused,
        )


async def _features(admin: AIOKafkaAdminClient) -> dict[str, int]:
    try:
        return finalized(await ask(admin, DescribeFeatures(__version__)))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}


async def _broker_settings(
    admin: AIOKafkaAdminClient, brokers: list[int]
) -> tuple[dict[int, dict[str, str]], str]:
    """Return the settings by broker, and why they are refused, if so."""
    found: dict[int, dict[str, str]] = {}
    for broker_id in brokers:
        resource = ConfigResource(
            ConfigResourceType.BROKER, str(broker_id), dict.fromkeys(_SETTINGS)
        )
        answers: list[Any] = await admin.describe_configs([resource])
        for answer in answers:
            for code, _, _, _, entries in answer.resources:
                if code:
                    return {}, for_code(code).__name__
                found[broker_id] = {entry[0]: entry[1] or "" for entry in entries}
    return found, ""


async def all_topics(settings: Settings) -> list[Topic]:
    """Return the namespace's topics, as the broker describes them by name."""
    names = settings.topics
    specs = {spec.name: spec for spec in names.specs(settings.partitions)}
    async with administering(settings) as admin:
        cluster = await ask(admin, DescribeCluster(list(names.all)))
    described = await topics.describe(settings)
    found = []
    for error, name, _, partitions, operations in cluster.topics:
        spec, known = specs.get(name), described.get(name)
        replicas = [
            Replicas(number, leader, len(all_), len(in_sync))
            for _, number, leader, _, all_, in_sync, _ in sorted(partitions)
        ]
        found.append(
            Topic(
                name=name,
                error=error,
                partitions=tuple(replicas),
                expected_partitions=spec.partitions if spec else settings.partitions,
                foreign=name in names.foreign,
                operations=given(operations),
                config=known.config if known else {},
                deviations=topics.deviations(spec, known) if spec and known else {},
            )
        )
    return found


async def group(settings: Settings, processor: str) -> Group:
    """Return the group of a processor, with the age of its oldest unread records."""
    name = settings.topics.group(processor)
    allowed = (await consumer_groups.operations(settings, [name]))[name]
    if allowed is not None and not allowed & _DESCRIBE:
        return Group(name=name, processor=processor, described=False)
    found, positions = await groups.look(settings, processor)
    waiting, denied = await _waiting(settings, positions)
    return Group(
        name=found.name,
        processor=processor,
        state=found.state,
        members=found.members,
        denied=denied,
        places=tuple(
            Place(
                topic=place[0],
                partition=place[1],
                begin=at.begin,
                end=at.end,
                committed=at.committed,
                lag=at.lag,
                member=found.owners.get(place),
                waiting=waiting.get(place),
            )
            for place, at in positions.items()
        ),
    )


async def _waiting(
    settings: Settings, positions: dict[Partition, Position]
) -> tuple[dict[Partition, float], str]:
    """Return, by partition with a lag, the age of the first unread record in seconds.

    The second is the refusal, if this user may not read the records.
    """
    behind = {TopicPartition(*place): at for place, at in positions.items() if at.lag}
    if not behind:
        return {}, ""
    begins = {place: max(at.committed or 0, at.begin) for place, at in behind.items()}
    ends = {place: at.end for place, at in behind.items()}
    try:
        async with watching(settings, {place.topic for place in behind}) as watch:
            times = await watch.times(begins, ends)
    except Problem as problem:
        if problem.code not in RIGHT_CAUSES:
            raise
        return {}, str(problem)
    now = now_ms()
    return {place: max(0, now - at) / 1000 for place, at in times.items()}, ""


async def rights(settings: Settings) -> Rights:
    """Return what this user may do with the topics and groups."""
    async with administering(settings) as admin:
        cluster = await ask(admin, DescribeCluster(list(settings.topics.all)))
    by_topic = {
        name: 0 if error == TopicAuthorizationFailedError.errno else given(operations)
        for error, name, _, _, operations in cluster.topics
    }
    return Rights(by_topic, await consumer_groups.operations(settings, settings.topics.groups))


async def clock(settings: Settings) -> Clock:
    """Compare this machine's clock with Kafka's."""
    compared = KafkaTime()
    await compared.compare(settings)
    await compared.rest()
    offset = compared.offset
    return Clock(offset, "" if offset is not None else compared.known())


async def versions(settings: Settings) -> Versions:
    """Return the versions in use, and the newest state format on `messages`."""
    return local_versions(await _formats(settings))


def local_versions(formats: Mapping[int, int] = MappingProxyType({})) -> Versions:
    """Return the versions in use; without `formats` where Kafka does not answer."""
    return Versions(
        bluetick=__version__,
        python=platform.python_version(),
        aiokafka=version("aiokafka"),
        tested_kafka=VERSION,
        state_format=STATE_VERSION,
        formats=dict(formats),
    )


async def _formats(settings: Settings) -> dict[int, int]:
    found: dict[int, int] = {}
    for record in await last_records(settings, [settings.topics.messages], _LAST_RECORDS):
        newest = max(found.get(record.partition, 0), _format(record.value))
        found[record.partition] = newest
    return found


def _format(value: bytes | None) -> int:
    """Return the format of a state; 0 for a dropped one, and for what is no state."""
    try:
        return format_of(value)
    except UndecodableError:
        return 0


def spool(settings: Settings) -> Spool:
    """Return the slots of the spool; raises `OSError` if its directory cannot be read."""
    directory = settings.spool
    there = slots.known(directory) if directory and directory.is_dir() else []
    return Spool(
        directory=str(directory) if directory else None,
        max_bytes=settings.spool_max_bytes,
        max_age=settings.spool_max_age,
        slots=tuple(map(_slot, there)),
    )


def _slot(directory: Path) -> Slot:
    name = directory.name
    try:
        held = look(directory / FILE).values() if (directory / FILE).exists() else ()
        oldest = min((one.oldest for one in held if one.oldest is not None), default=None)
        return Slot(
            name=name,
            in_use=slots.in_use(directory),
            bodies=sum(one.bodies for one in held),
            bytes=sum(one.bytes for one in held),
            age=0.0 if oldest is None else max(0.0, time.time() - oldest / 1000),
            damaged=tuple(file.name for file in slots.kept_aside(directory)),
        )
    except OSError as error:
        return Slot(name=name, error=error.strerror or type(error).__name__)
    except DatabaseError as error:
        return Slot(name=name, error=str(error))


def disks(settings: Settings) -> list[Disk]:
    """Return the disks of the spool, if there is one, and of the data directory."""
    found = [_disk("data", settings.data, 0)]
    if settings.spool is not None:
        held = spool(settings).slots
        left = settings.spool_max_bytes - sum(one.bytes for one in held)
        found.append(_disk("spool", settings.spool, round(max(0, left) * _ROOM_SHARE)))
    return found


def _disk(setting: str, directory: Path, needed: int) -> Disk:
    """Return the disk of a directory, or of the nearest one above it that exists."""
    nearest = next(
        one for one in (directory.absolute(), *directory.absolute().parents) if one.is_dir()
    )
    usage = shutil.disk_usage(nearest)
    return Disk(
        setting=variable(setting),
        directory=str(directory),
        total=usage.total,
        free=usage.free,
        needed=needed,
        writable=os.access(directory, os.W_OK) if directory.is_dir() else None,
    )
