"""Consumer groups, read without joining them: names, committed offsets and lag."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from service.kafka import clients
from service.kafka.admin import administering, coordinated
from service.kafka.read_to_end import first_record
from service.settings import Settings

_ASK_SECONDS = 0.2
_START_SECONDS = 30.0

Offsets = Mapping[TopicPartition, int]
Committed = Mapping[TopicPartition, OffsetAndMetadata]


class Watch:
    """Reads the offsets of topics and of groups from Kafka; it joins no group."""

    def __init__(
        self, partitions: int, reader: AIOKafkaConsumer, admin: AIOKafkaAdminClient
    ) -> None:
        self._partitions = partitions
        self._reader = reader
        self._admin = admin

    async def beginnings(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the offset of the oldest record of each partition."""
        return dict(await self._reader.beginning_offsets(self._places(topics)))

    async def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the offset of the next record of each partition."""
        return dict(await self._reader.end_offsets(self._places(topics)))

    async def oldest(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the timestamp (Unix ms) of the oldest record of each partition that has one."""
        found = await self._reader.offsets_for_times(dict.fromkeys(self._places(topics), 0))
        return {place: known.timestamp for place, known in found.items() if known is not None}

    async def since(self, places: Iterable[TopicPartition], time: int) -> dict[TopicPartition, int]:
        """Return, by partition, the offset of the first record not older than `time` (Unix ms)."""
        found = await self._reader.offsets_for_times(dict.fromkeys(places, time))
        return {place: known.offset for place, known in found.items() if known is not None}

    async def times(self, begins: Offsets, ends: Offsets) -> dict[TopicPartition, int]:
        """Return, by partition, the time (Unix ms) of the first record in `begins` to `ends`."""
        found = {}
        for place, begin in begins.items():
            self._reader.assign([place])
            record = await first_record(self._reader, place, begin, ends[place])
            if record is not None:
                found[place] = record.timestamp
        return found

    async def committed(self, group: str) -> Committed:
        """Return the committed offsets of a group on all topics; {} if the group does not exist."""
        return await _committed(self._admin, group)

    async def lag(self, group: str, topics: Collection[str]) -> int:
        """Return the number of offsets that a group has not committed yet on the topics."""
        return await self.behind(group, await self.ends(topics))

    async def behind(self, group: str, ends: Offsets) -> int:
        """Return the number of offsets before `ends` that a group has not committed yet."""
        done = await self.committed(group)
        return lag_before(await self._reader.beginning_offsets(list(ends)), ends, done)

    def _places(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [TopicPartition(t, number) for t in topics for number in range(self._partitions)]


@asynccontextmanager
async def watching(settings: Settings, topics: Collection[str] = ()) -> AsyncIterator[Watch]:
    """Yield a started `Watch`; a failure of Kafka inside becomes a `Problem`.

    `topics` are the topics that it will read, if they are known (see `clients.reading`).
    """
    async with administering(settings) as admin, AsyncExitStack() as stack:
        async with asyncio.timeout(_START_SECONDS):
            reader = await stack.enter_async_context(clients.reading(settings, topics))
        yield Watch(settings.partitions, reader, admin)


async def committed(settings: Settings, group: str) -> Committed:
    """Return the committed offsets of a group; {} if the group does not exist."""
    async with administering(settings) as admin:
        return await _committed(admin, group)


async def begun_with(settings: Settings, prefix: str) -> dict[str, Committed]:
    """Return the committed offsets of each group whose name begins with `prefix`."""
    async with administering(settings) as admin:
        names = sorted({name for name, *_ in await admin.list_consumer_groups()})
        found = [name for name in names if name.startswith(prefix)]
        return {name: await _committed(admin, name) for name in found}


async def lag(settings: Settings, group: str, topics: Collection[str]) -> int:
    """Return the number of offsets that a group has not committed yet on the topics."""
    async with watching(settings, topics) as watch:
        return await watch.lag(group, topics)


async def passed(settings: Settings, group: str, topic: str, seconds: float) -> int:
    """Wait until a group has committed the topic's present end; return the remaining lag."""
    async with watching(settings, [topic]) as watch:
        ends = await watch.ends([topic])
        left = await watch.behind(group, ends)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            await asyncio.sleep(_ASK_SECONDS)
            left = await watch.behind(group, ends)
        return left


async def commit(settings: Settings, group: str, offsets: Offsets) -> None:
    """Commit the start offsets of a group without members."""
    client = clients.consumer(settings, group)
    client.assign(list(offsets))
    await client.start()
    try:
        await client.commit(dict(offsets))
    finally:
        await clients.leave(client)


def lag_before(beginnings: Offsets, ends: Offsets, done: Committed) -> int:
    """Return the number of offsets before the ends that are not committed yet.

    Offsets that retention deleted count as committed: no group can read them.
    """
    known = {place: done[place].offset if place in done else 0 for place in ends}
    return sum(max(0, end - max(known[p], beginnings[p])) for p, end in ends.items())


async def _committed(admin: AIOKafkaAdminClient, group: str) -> Committed:
    try:
        found: Committed = await coordinated(lambda: admin.list_consumer_group_offsets(group))
    except GroupAuthorizationFailedError:
        raise GroupAuthorizationFailedError(group) from None  # aiokafka omits the name
    # Kafka answers -1 for a partition without a committed offset.
    return {place: known for place, known in found.items() if known.offset >= 0}
