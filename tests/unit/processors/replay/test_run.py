"""A replay without Kafka: its sentence, its round size, the topics of its outbox."""

import asyncio
import math
import socket
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer

from processors.replay import run
from processors.replay.progress import Replay, Spec
from processors.runtime.offset_ranges import Span
from processors.runtime.record_batches import Outbox
from schemas.coordinates import Partition
from service.errors import Problem
from service.settings import Settings

SPAN = Span("bluetick.raw.whapi", 0, 3, 9)


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        ({}, "^Kafka does not answer at .*: ConnectionRefusedError; start it"),
        ({SPAN.place: 3}, "resume with: bluetick replay run --yes --id fixed$"),
    ],
)
async def test_an_unrecorded_replay_cannot_be_resumed(
    reached: Mapping[Partition, int], said: str
) -> None:
    """A new replay is started again; a recorded replay has a command to resume it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        settings = Settings(kafka=f"127.0.0.1:{unused.getsockname()[1]}")
        replay = Replay("fixed", 1, Spec((SPAN,)), reached)
        limits = run.Limits(rate=0, backlog=0)
        with pytest.raises(Problem, match=said):
            await run.run(settings, replay, limits, lambda _: None, asyncio.Event())


@pytest.mark.parametrize(
    ("rate", "observations"), [(0, 5000), (0.1, 1), (2000, 400), (1e9, 5000), (math.inf, 5000)]
)
def test_the_size_of_a_round_follows_the_rate(rate: float, observations: int) -> None:
    assert run.Limits(rate, 0).round == observations


async def test_an_outbox_always_names_its_topics() -> None:
    """Without an open batch, all topics are named: the sentence needs at least one."""
    producer = AIOKafkaProducer()
    outbox = Outbox(producer)
    for topic in ("b", "a", "b"):
        outbox.add(topic, 0, key=None, value=b"", timestamp=1)
    assert outbox.unacknowledged() == ["a", "b"]
    await producer.stop()
