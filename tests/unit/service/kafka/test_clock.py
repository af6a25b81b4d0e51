"""Kafka's time in a process before, between and after comparisons."""

import math
import time

import pytest
from aiokafka.errors import KafkaConnectionError

from service.kafka import clock
from service.kafka.clock import KafkaTime
from service.kafka.clock_offset import Sample
from service.settings import Settings

MINUTE = 60_000
_NEAR_MS = 5000


def _answering(monkeypatch: pytest.MonkeyPatch, outcome: float | Exception) -> None:
    """Kafka is `ahead` milliseconds ahead of this machine, or there is no comparison."""

    async def soon(_: Settings) -> list[Sample]:
        if isinstance(outcome, Exception):
            raise outcome
        up = clock.uptime()
        return [Sample(up - 1, up, round(time.time() * 1000 + outcome))]

    monkeypatch.setattr(clock, "_soon", soon)


def _set(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """Set this machine's clock, as `KafkaTime` reads it."""
    monkeypatch.setattr(clock, "now_ms", lambda: time.time() * 1000 + ahead)


def _is_about(one: KafkaTime, ahead: float) -> bool:
    return abs(one.now() - time.time() * 1000 - ahead) < _NEAR_MS


async def test_its_own_until_it_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence changes nothing for a minute; then the machine's own clock is used."""
    one = KafkaTime()
    _set(monkeypatch, 61 * MINUTE)
    _answering(monkeypatch, KafkaConnectionError())
    await one.compare(Settings())
    assert (one.compared, one.certain, one.offset, one.problem) == (False, False, None, None)
    assert _is_about(one, 61 * MINUTE)
    monkeypatch.setattr(clock, "_SILENT_SECONDS", 0)
    await one.compare(Settings())
    assert (one.compared, one.certain) == (False, True)


async def test_later_silence_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a comparison the clock continues, also if Kafka or the topic is unavailable."""
    one = KafkaTime()
    _answering(monkeypatch, -30 * MINUTE)
    await one.compare(Settings())
    for error in (KafkaConnectionError(), clock._IncomparableError("gone")):
        _answering(monkeypatch, error)
        await one.compare(Settings())
        assert one.compared
        assert _is_about(one, -30 * MINUTE)
        assert one.offset == pytest.approx(1800, abs=5)


async def test_a_doubt_and_a_set_clock_cause_a_comparison(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not wait for the minute; each change is logged, and noted for the metric."""
    one = KafkaTime()
    offsets: list[float] = []
    compared = 0

    async def soon(_: Settings) -> list[Sample]:
        nonlocal compared
        compared += 1
        up = clock.uptime()
        return [Sample(up - 1, up, round(time.time() * 1000))]

    async def sleep(_: float) -> None:
        match len(offsets):
            case 1:
                one.doubt()
            case 2:
                _set(monkeypatch, -20 * MINUTE)
            case 4:
                _set(monkeypatch, 0)
            case 6:
                raise KeyboardInterrupt

    monkeypatch.setattr(clock, "_soon", soon)
    monkeypatch.setattr("asyncio.sleep", sleep)
    await one.compare(Settings())
    with pytest.raises(KeyboardInterrupt):
        await one.keep(Settings(), offsets.append)
    assert compared == 4  # at the start, after a doubt, set back, corrected
    assert offsets == pytest.approx([0, 0, -1200, -1200, 0, 0], abs=1)
    assert [line.partition("; ")[0].partition(" (")[0] for line in caplog.messages] == [
        "this machine's clock is 1200.0 s behind Kafka's",
        "this machine's clock is 0.0 s behind Kafka's",
    ]


async def test_the_offset_is_not_known_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is NaN: zero would mean that the clock is right."""
    one = KafkaTime()
    offsets: list[float] = []

    async def sleep(_: float) -> None:
        if offsets:
            raise KeyboardInterrupt

    _answering(monkeypatch, KafkaConnectionError())
    monkeypatch.setattr("asyncio.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        await one.keep(Settings(), offsets.append)
    assert list(map(math.isnan, offsets)) == [True]
