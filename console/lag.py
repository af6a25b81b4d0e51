"""How far a consumer group is behind."""

from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from processors.runtime.clients import reader
from schemas.settings import Settings


async def lag(settings: Settings, group: str, topics: Iterable[str]) -> int:
    """How many offsets a group has still to commit on the topics."""
    places = [TopicPartition(t, number) for t in topics for number in range(settings.partitions)]
    client, admin = reader(settings), AIOKafkaAdminClient(**settings.kafka_options())
    try:
        await client.start()
        await admin.start()
        ends = await client.end_offsets(places)
        committed = await admin.list_consumer_group_offsets(group)
    finally:
        await client.stop()
        await admin.close()
    done = {place: max(0, known.offset) for place, known in committed.items()}
    return sum(end - done.get(place, 0) for place, end in ends.items())
