"""`bluetick diff` on a real Kafka that brings nothing."""

import pytest
from aiokafka import TopicPartition

from cli.namespaces import compare
from service.errors import Problem
from service.kafka.clients import reading
from service.settings import Settings
from tests.broker.producing import Record, write


async def test_silence_has_an_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hears nothing of a partition that has more says so, and does not wait for good."""
    monkeypatch.setattr(compare, "_SILENCE_SECONDS", 0)
    places = [TopicPartition(settings.topics.messages, number) for number in (0, 1)]
    await write(settings, [Record(place.topic, place.partition, b"k", b"v") for place in places])
    async with reading(settings) as client:
        client.assign(places)
        await client.seek_to_beginning(*places)
        client.pause(*places)  # as good as a broker that is gone
        with pytest.raises(Problem, match="Kafka does not answer"):
            await compare._Pair(settings.kafka, client, *places)._read_on()
