"""The normaliser's rounds on a real Kafka: a round that is too large continues in the next."""

import asyncio
import json

import pytest

from processors.normalising import normaliser
from processors.normalising.round import Round
from processors.normalising.waiting_bodies import USUAL_BYTES
from processors.runtime.group_worker import GroupWorker
from schemas.processor_list import NORMALISE
from service.settings import Settings
from tests.broker.producing import Record, write, write_aborted
from tests.broker.reading import caught_up_with, read


def body(number: int) -> bytes:
    entry = {"message_id": f"m-{number}", "gateway": "sms", "timestamp": 1_700_000_000 + number}
    return json.dumps([{**entry, "result": "delivered", "type": "outgoing"}]).encode()


def noted_rounds(monkeypatch: pytest.MonkeyPatch) -> list[Round]:
    """Return a list to which each committed round is added."""
    rounds: list[Round] = []
    committed = normaliser.Normaliser._committed

    def noted(self: normaliser.Normaliser, made: Round) -> None:
        rounds.append(made)
        committed(self, made)

    monkeypatch.setattr(normaliser.Normaliser, "_committed", noted)
    return rounds


def keys(made: Round) -> set[str]:
    """Return the keys of a round's observations."""
    sent = (one for batch in made.outbox._batches for one in batch.records)
    return {(one.key or b"").decode() for one in sent}


async def normalise_all(settings: Settings) -> None:
    """Run a worker until all bodies are normalised."""
    stop = asyncio.Event()
    running = asyncio.create_task(GroupWorker(NORMALISE, settings, normaliser.Normaliser).run(stop))
    try:
        await caught_up_with(settings.kafka, settings.topics, "normalise")
    finally:
        stop.set()
        await running


async def test_a_round_with_too_many_results_is_split(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is put back: each result is published once."""
    monkeypatch.setattr(normaliser, "MOST_BYTES", 1)
    rounds = noted_rounds(monkeypatch)
    topic = settings.topics.raw("smsmanager")
    await write(settings, [Record(topic, n % 3, None, body(n)) for n in range(12)])
    await normalise_all(settings)
    observed = await read(settings.kafka, settings.topics.observations)
    assert sorted(one.key or "" for one in observed) == sorted(
        f"smsmanager/-/m-{n}" for n in range(12)
    )
    assert [one.bodies for one in rounds] == [1] * 12


async def test_usual_bodies_overtake_a_large_one_of_another_source(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The large one and the next body of its source come later, in order; then all is committed."""
    rounds = noted_rounds(monkeypatch)
    topic = settings.topics.raw("smsmanager")
    large = body(0).ljust(USUAL_BYTES + 1)
    sent = [("bulk", large), ("other", body(1)), ("bulk", body(2)), ("other", body(3))]
    records = [
        Record(topic, 0, None, value, [("ce_source", f"/webhooks/{source}".encode())])
        for source, value in sent
    ]
    await write(settings, records)
    await normalise_all(settings)
    assert [one.bodies for one in rounds] == [2, 2]
    assert [list(one.ends.values()) for one in rounds] == [[0], [4]]
    assert [keys(one) for one in rounds] == [
        {f"smsmanager/-/m-{number}" for number in numbers} for numbers in ((1, 3), (0, 2))
    ]


async def test_offsets_without_a_record_are_committed(settings: Settings) -> None:
    """An aborted transaction at the end of a raw topic, say of a mirror, leaves no lag."""
    topic = settings.topics.raw("smsmanager")
    await write(settings, [Record(topic, n, None, body(n)) for n in range(2)])
    for partition in (1, 2):
        await write_aborted(settings, topic, partition)
    await normalise_all(settings)
    observed = await read(settings.kafka, settings.topics.observations)
    assert sorted(one.key or "" for one in observed) == ["smsmanager/-/m-0", "smsmanager/-/m-1"]
