"""The normaliser's rounds on a real Kafka: a round that is too large continues in the next."""

import asyncio
import json

import pytest

from processors.normalising import normaliser
from processors.normalising.round import Round
from processors.runtime.group_worker import GroupWorker
from schemas.processor_list import NORMALISE
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, read


def body(number: int) -> bytes:
    entry = {"message_id": f"m-{number}", "gateway": "sms", "timestamp": 1_700_000_000 + number}
    return json.dumps([{**entry, "result": "delivered", "type": "outgoing"}]).encode()


async def test_a_round_with_too_many_results_is_split(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is put back: each result is published once."""
    monkeypatch.setattr(normaliser, "MOST_BYTES", 1)
    sizes: list[int] = []
    committed = normaliser.Normaliser._committed

    def noted(self: normaliser.Normaliser, made: Round) -> None:
        sizes.append(made.bodies)
        committed(self, made)

    monkeypatch.setattr(normaliser.Normaliser, "_committed", noted)
    topic = settings.topics.raw("smsmanager")
    await write(settings, [Record(topic, n % 3, None, body(n)) for n in range(12)])
    stop = asyncio.Event()
    running = asyncio.create_task(GroupWorker(NORMALISE, settings, normaliser.Normaliser).run(stop))
    await caught_up_with(settings.kafka, settings.topics, "normalise")
    stop.set()
    await running
    observed = await read(settings.kafka, settings.topics.observations)
    assert sorted(one.key or "" for one in observed) == sorted(
        f"smsmanager/-/m-{n}" for n in range(12)
    )
    assert sizes == [1] * 12
