"""Clocks with a real Kafka: comparison, failed comparison, and times that Kafka refuses."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy import topics
from ingest.spool.database import SpoolFile
from schemas.webhook import OWN_TIME, RawWebhook, Uptime, to_iso
from service.kafka import clock as kafka_time
from service.kafka.clock import KafkaTime, clock
from service.settings import Settings
from tests.broker.reading import Read
from tests.broker.running_ingest import Ingest, running, stored, until
from tests.broker.running_ingest import settings as settings_with

HOUR = 3_600_000
AHEAD = 61 * 60_000
_NEAR_MS = 30_000


@pytest.fixture(autouse=True)
def clean_clock() -> Iterator[None]:
    """Reset the process's clock, so that tests do not share a comparison."""
    clock.forget()
    yield
    clock.forget()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set this machine's clock 61 min ahead for the code under test."""
    monkeypatch.setattr(kafka_time, "now_ms", lambda: time.time() * 1000 + AHEAD)


async def _configure(given: Settings, topic: str, **values: str) -> None:
    """Replace a topic's settings."""
    admin = AIOKafkaAdminClient(bootstrap_servers=given.kafka)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in values.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    finally:
        await admin.close()


async def _drop_clocks(given: Settings) -> None:
    """Make the namespace one of an earlier version."""
    await topics.drop(given, given.topics.required)


async def test_clocks_are_compared(settings: Settings, ahead: None) -> None:
    """The offset is the one that was set, and the service is not ready."""
    del ahead
    one = await _compared(settings)
    assert one.offset == pytest.approx(AHEAD / 1000, abs=0.5)
    assert abs(one.now() - time.time() * 1000) < 500
    assert one.problem is not None
    assert one.problem.startswith("this machine's clock is 3660.")


async def test_setting_the_clock_does_not_change_kafkas_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's time continues; the offset shows the change of this machine's clock."""
    one = await _compared(settings)
    assert one.problem is None
    before = one.now()
    monkeypatch.setattr(kafka_time, "now_ms", lambda: time.time() * 1000 - 20 * 60_000)
    assert before <= one.now() < before + _NEAR_MS
    assert one.offset == pytest.approx(-1200, abs=0.5)
    assert "1200.0 s behind Kafka's" in str(one.problem)


async def test_a_namespace_of_an_earlier_version(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the topic the clocks cannot be compared; this is logged once and ingest continues."""
    await _drop_clocks(settings)
    with caplog.at_level(logging.WARNING):
        async with running(settings, create=False) as ingest:
            answer = await ingest.client.post("/webhooks/whapi/old", content=b"x")
            assert answer.status_code == 200
            assert await ingest.ready() == (200, [])
            await clock.compare(settings)
    assert clock.certain
    assert not clock.compared
    [line] = [one for one in caplog.messages if "cannot be compared" in one]
    assert line == (
        f"this machine's clock cannot be compared with Kafka's: the topic {settings.topics.clocks} "
        "does not exist; create it with: bluetick topics apply; the machine's own clock is used"
    )
    [record] = await stored(await _gone(ingest), "old")
    assert abs(record.timestamp - time.time() * 1000) < _NEAR_MS


async def test_a_topic_with_times_of_writers(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic without LogAppendTime is reported, here and by `check`."""
    await _configure(settings, settings.topics.clocks, message_timestamp_type="CreateTime")

    async def found() -> bool:
        return any(settings.topics.clocks in finding for finding in await topics.check(settings))

    await until(found)
    one = KafkaTime()
    await one.compare(settings)
    assert not one.compared
    assert "lacks message.timestamp.type=LogAppendTime; set it" in caplog.text


async def test_a_clock_far_ahead_refuses_nothing(settings: Settings, ahead: None) -> None:
    """61 min ahead: the body is stored with Kafka's time, and health names the clock."""
    del ahead
    async with running(settings, create=False) as ingest:
        answer = await ingest.client.post("/webhooks/whapi/ahead", content=b"x")
        assert answer.status_code == 200
        status, problems = await ingest.ready()
        assert status == 503
        assert "s ahead of Kafka's" in problems[0]
        [record] = await stored(ingest, "ahead")
    _is_of_now(record)


async def test_a_clock_far_ahead_that_cannot_be_compared(settings: Settings, ahead: None) -> None:
    """Kafka refuses its times: 503, and health has reason and remedy; after the remedy, 200."""
    del ahead
    await _drop_clocks(settings)
    async with running(settings, create=False) as ingest:
        answer = await ingest.client.post("/webhooks/whapi/blind", content=b"x")
        assert answer.status_code == 503
        status, [problem] = await ingest.ready()
        assert status == 503
        assert problem.startswith("Kafka refuses the records' time (InvalidTimestamp)")
        assert problem.endswith("does not exist; create it with: bluetick topics apply")

        await topics.apply(settings)

        async def taken() -> bool:
            again = await ingest.client.post("/webhooks/whapi/blind", content=b"x")
            return again.status_code == 200

        await until(taken)
        records = await stored(ingest, "blind")
    for record in records:
        _is_of_now(record)


async def test_times_in_the_spool_that_kafka_refuses(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    """Ahead of Kafka's time or too far behind: stored with Kafka's time, its own in a header."""
    given = settings_of(kafka, namespace, tmp_path)
    await topics.apply(given)
    raw = given.topics.raw("whapi")
    await _configure(given, raw, message_timestamp_before_max_ms=str(HOUR))
    now = round(time.time() * 1000)
    rows = {
        "future": _spooled("future", now + 2 * HOUR),
        "past": _spooled("past", now - 2 * HOUR),
        "fine": _spooled("fine", now - HOUR // 2),
    }
    _fill(tmp_path, list(rows.values()))
    async with running(given, create=False) as ingest:
        found = {mark: await _arrived(ingest, mark) for mark in rows}
    _is_of_now(found["future"])
    assert found["future"].headers[OWN_TIME].decode() == to_iso(now + 2 * HOUR)
    assert abs(found["past"].timestamp - now) < _NEAR_MS
    assert found["past"].headers["ce_time"].decode() == to_iso(now - 2 * HOUR)
    assert found["fine"].headers["ce_time"].decode() == to_iso(now - HOUR // 2)


async def test_bodies_spooled_before_the_comparison_of_clocks(
    kafka: str, namespace: str, tmp_path: Path
) -> None:
    """The machine's uptime gives the reception time, independent of its clock."""
    given = settings_of(kafka, namespace, tmp_path)
    now, up = round(time.time() * 1000), kafka_time.running()
    earlier = Uptime(up.ms - 10 * 60_000, up.boot)
    _fill(
        tmp_path, [_spooled("behind", now - HOUR, earlier), _spooled("ahead", now + HOUR, earlier)]
    )
    async with running(given) as ingest:
        found = [await _arrived(ingest, mark) for mark in ("behind", "ahead")]
    for record, own in zip(found, (now - HOUR, now + HOUR), strict=True):
        assert abs(record.timestamp - (now - 10 * 60_000)) < 1000
        assert record.headers["ce_time"].decode() == to_iso(record.timestamp)
        assert record.headers[OWN_TIME].decode() == to_iso(own)


def settings_of(kafka: str, namespace: str, home: Path) -> Settings:
    return settings_with(kafka, namespace, spool=home, partitions=1)


async def _compared(given: Settings) -> KafkaTime:
    one = KafkaTime()

    async def is_compared() -> bool:
        await one.compare(given)
        return one.compared

    await until(is_compared)
    return one


def _spooled(mark: str, received_at: int, uptime: Uptime | None = None) -> RawWebhook:
    return RawWebhook(
        id=mark,
        source="whapi",
        provider="whapi",
        body=mark.encode(),
        received_at=received_at,
        path=f"/{mark}",
        uptime=uptime,
    )


def _fill(home: Path, webhooks: list[RawWebhook]) -> None:
    """Write bodies to the first slot of a spool, in place of a process that has died."""
    (home / "0").mkdir(mode=0o700)
    file = SpoolFile(home / "0")
    file.add(webhooks)
    file.close()


async def _arrived(ingest: Ingest, mark: str) -> Read:
    """Wait for the raw record of a body and return it."""

    async def there() -> bool:
        return bool(await stored(ingest, mark))

    await until(there)
    return (await stored(ingest, mark))[0]


def _is_of_now(record: Read) -> None:
    """Assert that Kafka's time of a record and its reception time are close to now."""
    assert abs(record.timestamp - time.time() * 1000) < _NEAR_MS
    received = datetime.fromisoformat(record.headers["ce_time"].decode())
    assert abs(received.timestamp() - time.time()) * 1000 < _NEAR_MS


async def _gone(ingest: Ingest) -> Ingest:
    await ingest.serving
    return ingest
