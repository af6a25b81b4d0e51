"""Alarms: logged at once, again each minute, and shown until they end."""

import pytest

from processors.runtime.alarms import Alarms, LogLimit
from service.log_events import Notice, notice
from service.logger import logger

LOG = logger("test.alarms")


def _said(sentence: str) -> Notice:
    return notice("problem", message=sentence, code="any")


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(LOG)


def test_an_alarm_is_logged_at_once_and_every_minute(
    alarms: Alarms, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not matter how often it is raised meanwhile; the latest sentence counts."""
    for second in range(0, 130, 10):
        alarms.raise_("cause", _said(f"since {second}"), second)
    assert caplog.messages == ["since 0", "since 60", "since 120"]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert alarms.sentences(121) == ["since 120"]


def test_each_cause_has_its_own_minute(alarms: Alarms, caplog: pytest.LogCaptureFixture) -> None:
    """One alarm does not silence another."""
    alarms.raise_("first", _said("one"), 0)
    alarms.raise_("second", _said("two"), 30)
    for now in (59, 60, 89, 90):
        alarms.remind(now)
    assert caplog.messages == ["one", "two", "one", "two"]


def test_an_alarm_ends(alarms: Alarms, caplog: pytest.LogCaptureFixture) -> None:
    """It ends when it is cleared, or by itself; raised again, it is logged again."""
    alarms.raise_("short", _said("a"), 0, lasts=10)
    alarms.raise_("long", _said("b"), 0)
    assert alarms.sentences(9) == ["a", "b"]
    assert alarms.sentences(10) == ["b"]
    alarms.clear("long")
    alarms.clear("long")
    alarms.remind(11)
    assert alarms.causes() == []
    alarms.raise_("long", _said("b"), 12)
    assert caplog.messages == ["a", "b", "b"]


def test_a_log_limit_counts_omitted_lines() -> None:
    """The count is per cause, until it is read or reset."""
    limit = LogLimit()
    times = (0, 1, 59, 60, 61)
    assert [limit.due("a", now) for now in times] == [True, False, False, True, False]
    assert limit.due("b", 2)
    assert [limit.skipped(cause) for cause in ("a", "a", "b", "never")] == [3, 0, 0, 0]
    assert not limit.due("a", 62)
    limit.forget("a")
    assert limit.due("a", 63)
    assert limit.skipped("a") == 0
