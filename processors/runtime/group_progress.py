"""How far groups have come on the topics they read."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.kafka import clients
from service.kafka.admin import administrator
from service.settings import Settings

Offsets = Mapping[TopicPartition, int]

_ASK_SECONDS = 30.0


class Watch:
    """Asks Kafka about logs and groups; belongs to none."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.partitions
        self._reader: AIOKafkaConsumer = clients.reader(settings)
        self._admin = administrator(settings)

    async def start(self) -> None:
        await self._reader.start()
        await self._admin.start()

    async def stop(self) -> None:
        await clients.leave(self._reader)
        await self._admin.close()

    async def beginnings(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """The offsets of the oldest records there are."""
        return dict(await self._reader.beginning_offsets(self._places(topics)))

    async def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """The offsets of the records to come."""
        return dict(await self._reader.end_offsets(self._places(topics)))

    async def oldest(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """When the oldest record of each partition was written, Unix ms; the empty ones apart."""
        found = await self._reader.offsets_for_times(dict.fromkeys(self._places(topics), 0))
        return {place: known.timestamp for place, known in found.items() if known is not None}

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """The offsets a group has committed, on whatever topic."""
        known = await self._admin.list_consumer_group_offsets(group)
        return {place: one.offset for place, one in known.items() if one.offset >= 0}

    async def reached(self, group: str, ends: Offsets) -> bool:
        """Whether a group has committed all that lies before these ends."""
        left = behind(ends, await self.committed(group))
        if not left:
            return True
        # What retention deleted before anybody read it is nobody's to commit.
        beginnings = await self.beginnings({place.topic for place in left})
        return all(beginnings[place] >= ends[place] for place in left)

    def _places(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [TopicPartition(t, number) for t in topics for number in range(self._partitions)]


def behind(ends: Offsets, committed: Offsets) -> dict[TopicPartition, int]:
    """How many offsets a group has to go, where it has not come to the end."""
    left = {place: end - committed.get(place, 0) for place, end in ends.items()}
    return {place: count for place, count in left.items() if count > 0}


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watch]:
    """A watch under way."""
    watch = Watch(settings)
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            await watch.start()
        yield watch
    finally:
        await watch.stop()


async def commit(settings: Settings, group: str, offsets: Offsets) -> None:
    """Say where a group that has no members yet is to begin."""
    client = clients.consumer(settings, group)
    client.assign(list(offsets))
    await client.start()
    try:
        await client.commit(dict(offsets))
    finally:
        await clients.leave(client)
