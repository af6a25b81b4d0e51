"""Lists, describes and deletes the consumer groups on the broker."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import GroupAuthorizationFailedError, for_code

from schemas.coordinates import Partition
from service.kafka.admin import administering, ask, coordinated, delete_group
from service.kafka.admin_requests import DescribeGroups, given
from service.settings import Settings

_CONSUMERS = "consumer"


@dataclass(frozen=True)
class Group:
    """A consumer group: the number of members, the topics they read, the topics with offsets.

    `owners` has the member that each assigned partition belongs to.
    """

    name: str
    members: int
    reads: frozenset[str]
    offsets: frozenset[str]
    state: str = ""
    owners: Mapping[Partition, str] = field(default_factory=dict)


async def names(settings: Settings) -> list[str]:
    """Return the names of all groups."""
    async with administering(settings) as admin:
        return [name for name, _ in await admin.list_consumer_groups()]


async def groups(settings: Settings) -> list[Group]:
    """Return a description of every consumer group."""
    async with administering(settings) as admin:
        found = sorted(await admin.list_consumer_groups())
        return [await _group(admin, name) for name, kind in found if kind in ("", _CONSUMERS)]


async def group(settings: Settings, name: str) -> Group:
    """Return the description of one group; one that does not exist has no members."""
    async with administering(settings) as admin:
        return await _group(admin, name)


async def operations(settings: Settings, wanted: Iterable[str]) -> dict[str, int | None]:
    """Return, by group, the bits of what this user may do with it; None if the broker is silent."""
    async with administering(settings) as admin:
        return {name: await _operations(admin, name) for name in wanted}


async def delete(settings: Settings, wanted: Iterable[str]) -> list[str]:
    """Delete groups without members, with their offsets; return one sentence for each."""
    done = []
    async with administering(settings) as admin:
        there = {name for name, _ in await admin.list_consumer_groups()}
        for name in wanted:
            if name in there:
                await delete_group(admin, name)
                done.append(f"deleted the group {name}")
    return done


async def _group(admin: AIOKafkaAdminClient, name: str) -> Group:
    state, members, _ = await _described(admin, name)
    offsets = await admin.list_consumer_group_offsets(name)
    return Group(
        name,
        len(members),
        frozenset(topic for *_, metadata, _ in members for topic in _subscription(metadata)),
        frozenset(partition.topic for partition in offsets),
        state,
        {place: id_ for id_, *_, assignment in members for place in _assigned(assignment)},
    )


async def _described(admin: AIOKafkaAdminClient, name: str) -> tuple[str, list[Any], int]:
    """Return the state, members and operations of a group; raises `KafkaError`."""

    async def described() -> tuple[str, list[Any], int]:
        coordinator = await admin.find_coordinator(name)
        answer = await ask(admin, DescribeGroups([name]), coordinator)
        [(code, _, state, _, _, members, allowed)] = answer.groups
        if code:
            raise for_code(code)
        return state, members, allowed

    return await coordinated(described)


async def _operations(admin: AIOKafkaAdminClient, name: str) -> int | None:
    try:
        _, _, allowed = await _described(admin, name)
    except GroupAuthorizationFailedError:
        return 0
    return given(allowed)


def _assigned(assignment: bytes) -> list[Partition]:
    """Return the partitions of a member; none during a rebalance."""
    if not assignment:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return [(place.topic, place.partition) for place in decoded.partitions()]


def _subscription(metadata: bytes) -> list[str]:
    """Return the topics that a member subscribes to; none while it is joining."""
    return ConsumerProtocolMemberMetadata.decode(metadata).subscription if metadata else []
