"""Timers on a real Kafka: they fire once, without traffic, and from a rebuilt store."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cli.processes import Running, Service, running
from deploy import topics
from schemas.codec import decode_event, encode
from schemas.records import Event, Forgotten, Observation, Resumed, Stalled
from schemas.topics import partition_of
from schemas.webhook import RawWebhook, to_headers
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import read
from tests.broker.running_ingest import until
from tests.unit.messages import KEY, seen

NOW = round(time.time() * 1000)
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
MANY = 2500  # more than two transactions take


async def observe(settings: Settings, *observations: Observation) -> None:
    await write(settings, [_record(settings, one) for one in observations])


def _record(settings: Settings, one: Observation) -> Record:
    partition = partition_of(one.message_key, settings.partitions)
    return Record(settings.topics.observations, partition, one.message_key.encode(), encode(one))


@asynccontextmanager
async def tracking(settings: Settings, **changes: Any) -> AsyncIterator[Running]:
    given = settings.model_copy(update={"timer_grace": 0.0, **changes})
    async with running(given, [Service("track", given.health_port("track"))], _silent) as [one]:
        yield one


async def events(settings: Settings) -> list[Event]:
    return [decode_event(r.value) for r in await read(settings.kafka, settings.topics.events)]


async def event(settings: Settings, wanted: type[Event], count: int = 1) -> list[Event]:
    """Wait until `count` events of a kind are published."""
    await until(lambda: _are_there(settings, lambda e: isinstance(e, wanted), count))
    return [one for one in await events(settings) if isinstance(one, wanted)]


async def _are_there(settings: Settings, fits: Callable[[Event], bool], count: int) -> bool:
    return sum(map(fits, await events(settings))) >= count


async def test_an_alarm_is_published_and_withdrawn(settings: Settings) -> None:
    """Without traffic the alarm is published once, not again by a tracker without a store."""
    heard = NOW - 11 * MINUTE
    await observe(settings, seen("queued", heard))
    async with tracking(settings):
        [stalled] = await event(settings, Stalled)
    assert isinstance(stalled, Stalled)
    assert (stalled.message_key, stalled.status) == (KEY, "queued")
    assert stalled.cause.received_at == heard

    async with tracking(settings, data=settings.data / "empty"):
        await observe(settings, seen("sent", NOW))
        await event(settings, Resumed)
    kinds = [one.__struct_config__.tag for one in await events(settings)]
    assert kinds == ["advanced", "stalled", "advanced", "resumed"]
    [*_, state] = await read(settings.kafka, settings.topics.messages)
    assert b"stalled_since" not in state.value


async def test_a_receipt_that_is_not_normalised_yet_prevents_the_alarm(settings: Settings) -> None:
    """A receipt that was received in time counts, however late it is normalised."""
    heard = NOW - 11 * MINUTE
    await observe(settings, seen("queued", heard))
    await write(settings, [_receipt(settings, heard + MINUTE)])
    async with tracking(settings):
        await until(lambda: _are_there(settings, lambda _: True, 1))
        both = [Service("normalise", settings.health_port("normalise"))]
        async with running(settings, both, _silent):
            await until(lambda: _are_there(settings, lambda _: True, 2))
    kinds = [one.__struct_config__.tag for one in await events(settings)]
    assert kinds == ["advanced", "advanced"]


def _receipt(settings: Settings, at: int) -> Record:
    """Return a body that reports the message as delivered, received at that time."""
    body = (
        b'{"message_id": "m1", "gateway": "sms", "timestamp": %d, "type": "outgoing", '
        b'"to": {"phone_number": "420777123456"}, "result": "delivered"}' % (at // 1000)
    )
    hook = RawWebhook(
        id="1", source="smsmanager", provider="smsmanager", body=b"[%b]" % body, received_at=at
    )
    return Record(settings.topics.raw("smsmanager"), 0, None, hook.body, to_headers(hook))


@pytest.mark.long
async def test_timers_are_rebuilt_with_the_store(settings: Settings) -> None:
    """A tracker that restores from `messages` fires the timers of another, without new records."""
    await observe(settings, seen("sending", NOW - 11 * MINUTE))
    async with tracking(settings, timer_grace=3600.0):
        await until(lambda: _are_there(settings, lambda _: True, 1))

    async with tracking(settings, data=settings.data / "empty"):
        await event(settings, Stalled)


async def test_the_state_of_an_old_message_is_dropped(settings: Settings) -> None:
    """An event with a summary reports its end, a tombstone follows, and it can begin again."""
    await observe(settings, seen("delivered", NOW - 46 * DAY))
    async with tracking(settings):
        [forgotten] = await event(settings, Forgotten)
        assert isinstance(forgotten, Forgotten)
        assert forgotten.status == "delivered"
        states = await read(settings.kafka, settings.topics.messages)
        assert [state.value is None for state in states] == [False, True]

        await observe(settings, seen("read", NOW))
        await until(lambda: _are_there(settings, lambda e: e.cause.status == "read", 1))
    kinds = [one.__struct_config__.tag for one in await events(settings)]
    assert kinds == ["advanced", "forgotten", "advanced"]


async def test_a_storm_of_timers_is_spread_over_transactions(settings: Settings) -> None:
    """Thousands of timers due at once each fire once, in several transactions."""
    heard = NOW - 11 * MINUTE
    key = [f"smsmanager/-/m{number}" for number in range(MANY)]
    await observe(settings, *(seen("queued", heard, message_key=one) for one in key))
    async with tracking(settings):
        alarms = await event(settings, Stalled, MANY)

    assert sorted(alarm.message_key for alarm in alarms) == sorted(key)
    records = await read(settings.kafka, settings.topics.events)
    # A transaction's records have one time.
    moments = {r.timestamp for r in records if isinstance(decode_event(r.value), Stalled)}
    assert len(moments) > 1


@pytest.mark.long
async def test_a_replay_gives_the_same_events(settings: Settings) -> None:
    """One tracker is idle when timers are due, another reads the whole log at once."""
    again = settings.model_copy(update={"namespace": f"{settings.namespace}-again"})
    first = [
        seen("queued", NOW - 30 * MINUTE),
        seen("queued", NOW - 30 * MINUTE, message_key=f"{KEY}-quiet"),
        seen("read", NOW - 46 * DAY, message_key=f"{KEY}-old"),
    ]
    then = [seen("sent", NOW), seen("read", NOW + 1)]
    async with tracking(settings):
        await observe(settings, *first)
        await event(settings, Stalled, 2)
        await event(settings, Forgotten)
        await observe(settings, *then)
        await event(settings, Resumed)
    await topics.apply(again)
    await observe(again, *first, *then)
    async with tracking(again, data=settings.data / "again"):
        await until(lambda: _same_events(settings, again))
    await topics.drop(again)


async def _same_events(settings: Settings, again: Settings) -> bool:
    one, other = [
        sorted((r.key, r.headers["ce_id"], r.value) for r in await read(kafka, topic))
        for kafka, topic in (
            (settings.kafka, settings.topics.events),
            (again.kafka, again.topics.events),
        )
    ]
    assert set(other) <= set(one)
    return one == other


def _silent(_: str, __: str) -> None:
    pass
