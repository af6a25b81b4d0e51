"""How far groups have come on the topics they read; and what of a log may still be on its way."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from service.kafka import clients
from service.kafka.admin import administrator
from service.kafka.clock import clock
from service.settings import Settings

log = logging.getLogger(__name__)

Offsets = Mapping[TopicPartition, int]

_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_ASK_SECONDS = 30.0
_KEPT = 10


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


class Settled:
    """Until when all bodies received are known to be among the observations.

    A tracker at the end of its log has heard of everything only if normalise has: while bodies wait
    in the raw topics, it is too early to say that nothing was heard of a message.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # (until when, by Kafka's clock, since when that is known); the newest last.
        self._known: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def until(self, at: float) -> int:
        """Up to when a reader who was at the end of the observations at `at` has heard of all.

        `at` is of time.monotonic(); the answer is in Unix milliseconds.
        """
        return max((until for until, since in self._known if since <= at), default=0)

    def note(self, *, until: int, since: float) -> None:
        """Note what is known since a time of time.monotonic()."""
        self._known.append((until, since))

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                async with watching(self._settings) as watch:
                    await self._look(watch)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("normalise's progress is not known: %s", error or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _look(self, watch: Watch) -> None:
        source = self._settings.topics.source
        now, ends = 0, None
        while True:
            async with asyncio.timeout(_ASK_SECONDS):
                if ends is None:
                    # A clock that was not compared tells of no body that it was received before.
                    now = clock.now() if clock.certain else 0
                    ends = await watch.ends(source.inputs("normalise"))
                if await watch.reached(source.group("normalise"), ends):
                    self.note(until=now, since=time.monotonic())
                    ends = None
            await asyncio.sleep(_LOOK_SECONDS)
