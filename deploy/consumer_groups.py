"""Lists, describes and deletes the consumer groups on the broker."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from service.kafka.admin import administering, delete_group
from service.settings import Settings

_CONSUMERS = "consumer"


@dataclass(frozen=True)
class Group:
    """A consumer group: the number of members, the topics they read, the topics with offsets."""

    name: str
    members: int
    reads: frozenset[str]
    offsets: frozenset[str]


async def names(settings: Settings) -> list[str]:
    """Return the names of all groups."""
    async with administering(settings) as admin:
        return [name for name, _ in await admin.list_consumer_groups()]


async def groups(settings: Settings) -> list[Group]:
    """Return a description of every consumer group."""
    async with administering(settings) as admin:
        found = sorted(await admin.list_consumer_groups())
        return [await _group(admin, name) for name, kind in found if kind in ("", _CONSUMERS)]


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
    # One at a time: aiokafka 0.14 decodes an answer on several groups wrongly.
    [answer] = await admin.describe_consumer_groups([name])
    description: Any = answer
    members = [member for group in description.groups for member in group[5]]
    offsets = await admin.list_consumer_group_offsets(name)
    return Group(
        name,
        len(members),
        frozenset(topic for member in members for topic in _subscription(member[3])),
        frozenset(partition.topic for partition in offsets),
    )


def _subscription(metadata: bytes) -> list[str]:
    """Return the topics that a member subscribes to; none while it is joining."""
    return ConsumerProtocolMemberMetadata.decode(metadata).subscription if metadata else []
