"""Consumer groups on the broker: which there are, who is in them, what they read."""

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
    """A consumer group: how many members are in it, what they read, where it has offsets."""

    name: str
    members: int
    reads: frozenset[str]
    offsets: frozenset[str]


async def names(settings: Settings) -> list[str]:
    """The groups there are."""
    async with administering(settings) as admin:
        return [name for name, _ in await admin.list_consumer_groups()]


async def groups(settings: Settings) -> list[Group]:
    """Every group, looked at closely."""
    async with administering(settings) as admin:
        found = sorted(await admin.list_consumer_groups())
        return [await _group(admin, name) for name, kind in found if kind in ("", _CONSUMERS)]


async def delete(settings: Settings, wanted: Iterable[str]) -> list[str]:
    """Delete groups without members, with their offsets; returns one sentence each."""
    done = []
    async with administering(settings) as admin:
        there = {name for name, _ in await admin.list_consumer_groups()}
        for name in wanted:
            if name in there:
                await delete_group(admin, name)
                done.append(f"deleted the group {name}")
    return done


async def _group(admin: AIOKafkaAdminClient, name: str) -> Group:
    # One at a time: aiokafka 0.14 reads an answer about several wrongly.
    [answer] = await admin.describe_consumer_groups([name])
    description: Any = answer
    members = [member for group in description.groups for member in group[5]]
    offsets = await admin.list_consumer_group_offsets(name)
    return Group(
        name,
        len(members),
        frozenset(topic for member in members for topic in _subscription(member[3])),
        frozenset(place.topic for place in offsets),
    )


def _subscription(metadata: bytes) -> list[str]:
    """The topics a member asked for; none if it is still joining."""
    return ConsumerProtocolMemberMetadata.decode(metadata).subscription if metadata else []
