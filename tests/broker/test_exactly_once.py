"""The promise, tried: a tracker killed in the middle leaves nothing lost and nothing doubled."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cli.processes import Service, running
from cli.simulator.simulate import simulate
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import Read, caught_up, ends, read
from tests.broker.recomputation import Recomputed, recompute

MESSAGES = 1500
CHUNK = 60
NOW = round(time.time() * 1000)


async def test_a_killed_tracker_loses_and_doubles_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """After two SIGKILLs in mid-stream the topics are as recomputed from the raw ones."""
    first, second = tmp_path / "first", tmp_path / "second"
    bodies = _webhooks()
    half = len(bodies) // 2
    async with running(settings, [_service("normalise", settings)], _silent):
        await _killed_in_mid_stream(settings, first, bodies[:half])
        # The next owner has the lasting name of the killed one and finds its store; the one after
        # that is a stranger and finds none.
        await _killed_in_mid_stream(settings, first, bodies[half:])
        seen_live = await read(settings.kafka, settings.topics.statuses)
        last = settings.model_copy(update={"data": second})
        async with running(last, [_service("track", last)], _silent):
            await caught_up(settings.kafka, settings.topics)

    expected = recompute(settings.topics, await _raw(settings))
    statuses = expected.outputs["statuses"]
    assert sum(statuses.values()) > 2 * MESSAGES
    await _compare(settings, expected)
    assert Counter(map(_entry, seen_live)) <= statuses, "a live reader saw what was not committed"


async def _killed_in_mid_stream(
    settings: Settings, data: Path, webhooks: Sequence[RawWebhook]
) -> None:
    """Track while webhooks arrive, and SIGKILL the tracker once it has committed some of them."""
    settings = settings.model_copy(update={"data": data, "instance": "one"})
    before = await _total(settings)
    left = _records(settings, webhooks)
    async with running(settings, [_service("track", settings)], _silent) as [tracker]:
        while await _total(settings) <= before:
            assert left, "the tracker committed nothing while records arrived"
            arriving, left = left[:CHUNK], left[CHUNK:]
            await write(settings, arriving)
        tracker.kill()
    await write(settings, left)


def _webhooks() -> list[RawWebhook]:
    simulation = simulate(
        messages=MESSAGES,
        base_time_ms=NOW,
        seed=7,
        duplicates=0.1,
        shuffle=True,
        malformed=0.03,
    )
    return [
        post.received(NOW + number, f"{number}") for number, post in enumerate(simulation.posts)
    ]


def _records(settings: Settings, webhooks: Sequence[RawWebhook]) -> list[Record]:
    """Webhooks as raw records, each provider's on one partition, so that their order is known."""
    return [
        Record(settings.topics.raw(hook.provider), 0, None, hook.body, to_headers(hook))
        for hook in webhooks
    ]


async def _compare(settings: Settings, expected: Recomputed) -> None:
    for name, entries in expected.outputs.items():
        records = await read(settings.kafka, f"{settings.namespace}.{name}")
        assert Counter(map(_entry, records)) == entries, name
    states = {r.key: r.value for r in await read(settings.kafka, settings.topics.messages)}
    assert states == expected.messages
    letters = await read(settings.kafka, settings.topics.dead_letters)
    kept = Counter((r.headers["dead-letter-code"].decode(), r.value) for r in letters)
    assert kept == expected.dead_letters


async def _raw(settings: Settings) -> list[Read]:
    return [r for topic in settings.topics.raw_topics for r in await read(settings.kafka, topic)]


def _entry(record: Read) -> tuple[str, str, bytes]:
    return record.key, record.headers["ce_id"].decode(), record.value


async def _total(settings: Settings) -> int:
    return sum((await ends(settings.kafka, settings.topics.statuses)).values())


def _service(name: str, settings: Settings) -> Service:
    return Service(name, getattr(settings, f"{name}_health_port"))


def _silent(_: str, __: str) -> None:
    pass
