"""The Kafka clients' deadlines, and their reaction to broken connections."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaConnectionError

from service.kafka import clients
from service.settings import Settings

BROKER = SimpleNamespace(host="broker", port=1)


async def test_a_broken_connection_ends_a_running_wait(producer: AIOKafkaProducer) -> None:
    """It ends at once, before the deadline; closing an idle connection has no effect."""
    closed: Any = producer.client._on_connection_closed

    async def work() -> None:
        async with clients.unbroken(producer, 60):
            closed(BROKER, CloseReason.IDLE_DROP)
            await asyncio.sleep(0)
            assert clients.losses(producer) == 0
            closed(BROKER, CloseReason.CONNECTION_BROKEN)
            await asyncio.Event().wait()

    with pytest.raises(KafkaConnectionError, match="lost in a transaction"):
        await work()
    closed(BROKER, CloseReason.CONNECTION_TIMEOUT)
    assert clients.losses(producer) == 2


async def test_a_deadline_is_a_deadline(producer: AIOKafkaProducer) -> None:
    """Without a lost connection, the wait ends with a timeout."""

    async def work() -> None:
        async with clients.unbroken(producer, 0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()


@pytest.fixture
async def producer() -> AsyncIterator[AIOKafkaProducer]:
    """A producer that was never started."""
    one = clients.producer(Settings(kafka="127.0.0.1:1"), "track.0")
    yield one
    one._closed = True
