"""Consumer groups, looked at from outside: their names, what they committed, how far behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service.kafka import clients
from service.kafka.admin import administering
from service.settings import Settings

_ASK_SECONDS = 0.2
_SETTLE_SECONDS = 20

Committed = Mapping[TopicPartition, OffsetAndMetadata]


async def committed(settings: Settings, group: str) -> Committed:
    """What a group has committed; nothing if there is no such group."""
    async with administering(settings) as admin:
        return await _committed(admin, group)


async def begun_with(settings: Settings, prefix: str) -> dict[str, Committed]:
    """The groups whose names begin so, with what they have committed."""
    async with administering(settings) as admin:
        names = sorted({name for name, *_ in await admin.list_consumer_groups()})
        found = [name for name in names if name.startswith(prefix)]
        return {name: await _committed(admin, name) for name in found}


async def lag(settings: Settings, group: str, topics: Collection[str]) -> int:
    """How many offsets a group has still to commit on the topics."""
    async with watching(settings, group, topics) as behind:
        return await behind()


async def passed(settings: Settings, group: str, topic: str, seconds: float) -> int:
    """Wait until a group has committed what is the topic's end now; how much it still lacks."""
    places = _places(settings, [topic])
    async with clients.reading(settings, [topic]) as client, administering(settings) as admin:
        ends = await client.end_offsets(places)
        lacks = await _behind(client, admin, group, ends)
        deadline = asyncio.get_running_loop().time() + seconds
        while lacks and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_ASK_SECONDS)
            lacks = await _behind(client, admin, group, ends)
        return lacks


@asynccontextmanager
async def watching(
    settings: Settings, group: str, topics: Collection[str]
) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Ask for a group's lag again and again, over the same connections."""
    places = _places(settings, topics)
    async with clients.reading(settings, topics) as client, administering(settings) as admin:

        async def behind() -> int:
            return await _behind(client, admin, group, await client.end_offsets(places))

        yield behind


def _places(settings: Settings, topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]


async def _behind(
    client: AIOKafkaConsumer,
    admin: AIOKafkaAdminClient,
    group: str,
    ends: Mapping[TopicPartition, int],
) -> int:
    done = await _committed(admin, group)
    return left(await client.beginning_offsets(list(ends)), ends, done)


def left(
    beginnings: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], done: Committed
) -> int:
    """How many offsets are still to commit; what retention deleted nobody will."""
    known = {place: done[place].offset if place in done else 0 for place in ends}
    return sum(max(0, end - max(known[p], beginnings[p])) for p, end in ends.items())


async def _committed(admin: AIOKafkaAdminClient, group: str) -> Committed:
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            found: Committed = await admin.list_consumer_group_offsets(group)
        except KafkaError as error:
            # A coordinator is being found, or reads its groups: Kafka calls that an error.
            if not error.retriable or time.monotonic() > deadline:
                raise
            await asyncio.sleep(_ASK_SECONDS)
        else:
            return found
