"""A tracker that is killed in the middle of a batch loses and duplicates no record."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cli.processes import Service, running
from cli.simulator.simulate import simulate
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import Read, caught_up, ends, read, written
from tests.contract import check
from tests.oracle.compare import OUTPUTS, Found, compare_observations, compare_outputs
from tests.oracle.expected import expect_observations, expect_outputs, observations_in_order

MESSAGES = 1500
# Kinds of records that must be there; the others depend on where the kills hit.
USUAL = {"raw", "dead-letter", "status-observation", "inbound-observation", "status", "advanced"}
USUAL |= {"late", "fell_back", "replied", "viewed", "inbound", "message", "viewer"}
CHUNK = 60
NOW = round(time.time() * 1000)


async def test_a_killed_tracker_loses_and_duplicates_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """After two SIGKILLs under load, the topics equal those recomputed from the raw topics."""
    first, second = tmp_path / "first", tmp_path / "second"
    bodies = _webhooks()
    half = len(bodies) // 2
    async with running(settings, [_service("normalise", settings)], _silent):
        await _killed_under_load(settings, first, bodies[:half])
        # The second tracker has the instance name of the killed one and uses its store. The third
        # has another name and no store.
        await _killed_under_load(settings, first, bodies[half:])
        seen_live = await _outputs(settings)
        last = settings.model_copy(update={"data": second})
        async with running(last, [_service("track", last)], _silent):
            await caught_up(settings.kafka, settings.topics)

    raw = await _raw(settings)
    assert await _differences_of_normalise(settings, raw) == []
    late = await _outputs(settings)
    assert len(late[settings.topics.statuses]) > 2 * MESSAGES
    expected = expect_outputs(observations_in_order(settings.topics, raw), NOW)
    found = Found(late, late)
    assert compare_outputs(settings.topics, settings.partitions, found, expected) == []
    for topic in OUTPUTS:
        name = f"{settings.namespace}.{topic}"
        not_committed = Counter(map(_entry, seen_live[name])) - Counter(map(_entry, late[name]))
        assert not not_committed, "a live reader saw records that were not committed"
    records = [
        *raw,
        *await _of_normalise(settings),
        *(one for many in late.values() for one in many),
    ]
    assert check(written(settings, one) for one in records) >= USUAL


async def _of_normalise(settings: Settings) -> list[Read]:
    """Return observations and dead letters."""
    names = (settings.topics.observations, settings.topics.dead_letters)
    return [one for name in names for one in await read(settings.kafka, name)]


async def _killed_under_load(
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
    """Return webhooks as raw records, one partition per provider, so that their order is known."""
    return [
        Record(settings.topics.raw(hook.provider), 0, None, hook.body, to_headers(hook))
        for hook in webhooks
    ]


async def _differences_of_normalise(settings: Settings, raw: Sequence[Read]) -> list[str]:
    topics = settings.topics
    observations = await read(settings.kafka, topics.observations)
    dead_letters = await read(settings.kafka, topics.dead_letters)
    expected = expect_observations(topics, raw)
    return compare_observations(observations, dead_letters, expected, repeats=False)


async def _outputs(settings: Settings) -> dict[str, list[Read]]:
    """Read the topics that the tracker writes."""
    names = [f"{settings.namespace}.{topic}" for topic in OUTPUTS]
    return {name: await read(settings.kafka, name) for name in (*names, settings.topics.messages)}


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
