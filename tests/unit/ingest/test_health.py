"""The health page of ingest, and its log lines about the spool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.health import SHUTTING_DOWN, Health, judged, spooled, together
from ingest.spool.notices import Spooling
from ingest.spool.quota import Bounds, Held

BOUNDS = Bounds(max_bytes=1000, max_age=100.0)
NOW = 1_700_000_000_000
EMPTY = spooled(Held(), BOUNDS, NOW)
HALF = spooled(Held(3, 500, NOW - 10_000), BOUNDS, NOW)
AWAY = "Kafka does not answer"


def test_the_fill_level_is_in_bytes_age_and_shares() -> None:
    """Both bounds of the spool and their use; the age is 0 if the spool is empty."""
    assert (HALF.bodies, HALF.bytes, HALF.max_bytes, HALF.size_share) == (3, 500, 1000, 0.5)
    assert (HALF.oldest_age_seconds, HALF.max_age_seconds, HALF.age_share) == (10.0, 100.0, 0.1)
    assert (EMPTY.size_share, EMPTY.oldest_age_seconds, EMPTY.age_share) == (0.0, 0.0, 0.0)
    assert spooled(Held(1, 1, NOW + 5000), BOUNDS, NOW).oldest_age_seconds == 0.0


@pytest.mark.parametrize(
    ("problem", "why", "spool", "expected"),
    [
        (None, None, None, Health()),
        (None, None, EMPTY, Health(spool=EMPTY)),
        (None, AWAY, EMPTY, Health((), (f"webhooks go to the spool: {AWAY}",), EMPTY)),
        (None, None, HALF, Health((), ("3 bodies in the spool are not on Kafka yet",), HALF)),
        ("full", AWAY, HALF, Health(("full",), (), HALF)),
        (AWAY, AWAY, None, Health((AWAY,))),
    ],
    ids=["no spool", "well", "spooling", "draining", "full", "away without a spool"],
)
def test_ingest_is_ready_degraded_or_unready(
    problem: str | None, why: str | None, spool: object, expected: Health
) -> None:
    """Degraded: webhooks are accepted by the spool. A problem: webhooks are refused."""
    assert judged(problem, why, spool) == expected  # type: ignore[arg-type]


def test_the_health_of_workers_is_combined() -> None:
    """Contents are summed, shares are those of the fullest, equal sentences appear once."""
    spooling = judged(None, AWAY, HALF)
    other = judged(None, AWAY, spooled(Held(1, 900, NOW - 50_000), BOUNDS, NOW))
    both = together([spooling, other])
    assert both.spool is not None
    assert (both.spool.bodies, both.spool.bytes, both.spool.max_bytes) == (4, 1400, 2000)
    assert (both.spool.size_share, both.spool.age_share) == (0.9, 0.5)
    assert both.warnings[0] == f"webhooks go to the spool: {AWAY}"
    assert len(both.warnings) == 3
    assert both.problems == ()


@pytest.mark.parametrize(
    ("workers", "silent", "problems"),
    [
        ([], [], ("no worker serves yet",)),
        ([Health(), Health()], [], ()),
        ([Health(), Health(("full",))], [], ("full",)),
        ([Health(), Health((SHUTTING_DOWN,))], [], ()),
        ([Health((SHUTTING_DOWN,))], [], ("no worker serves yet",)),
        ([Health()], ["7 is stuck"], ("7 is stuck",)),
        ([Health((AWAY,)), Health((AWAY,))], [], (AWAY,)),
    ],
)
def test_a_problem_of_one_worker_is_a_problem_of_all(
    workers: list[Health], silent: list[str], problems: tuple[str, ...]
) -> None:
    """Except for a worker that shuts down: it is replaced."""
    assert together(workers, silent).problems == problems


def test_the_log_follows_the_spool() -> None:
    """It logs a line at the first reason, at a new reason, at the drain and at its end."""
    log = Spooling()
    assert log.unused() is None
    assert str(log.stored(AWAY)) == f"webhooks go to the spool: {AWAY}"
    assert log.stored(AWAY) is None
    assert str(log.stored("the topic x does not exist")) == (
        "webhooks go to the spool: the topic x does not exist"
    )
    assert str(log.acknowledged(Held(2, 20, NOW))) == (
        "the spool drains to Kafka: 2 bodies, 20 bytes are left"
    )
    assert log.acknowledged(Held(1, 10, NOW)) is None
    assert log.stored(AWAY) is not None, "a reason is logged again after Kafka accepted bodies"
    assert str(log.acknowledged(Held())) == "the spool is empty again"
    assert log.unused() is None


def test_the_end_of_an_outage_without_spooled_bodies_is_logged() -> None:
    """The next outage is logged again."""
    log = Spooling()
    assert log.stored(AWAY)
    assert str(log.unused()) == "webhooks go to Kafka again"
    assert log.stored(AWAY)


def _told(log: Spooling, held: int, age: int = 0) -> list[str]:
    fill = spooled(Held(1, held, NOW - age * 1000), BOUNDS, NOW)
    return [str(line).partition(" of a bound")[0].rpartition(" ")[2] for line in log.filled(fill)]


def test_each_level_of_the_spool_is_warned_of_once() -> None:
    """At 50 and 90 % of either bound, once on the way up; again after it fell below."""
    log = Spooling()
    levels = [(499, []), (500, ["50%"]), (700, []), (900, ["90%"]), (999, []), (600, [])]
    levels += [(950, ["90%"]), (100, []), (950, ["90%"]), (100, []), (550, ["50%"]), (600, [])]
    assert [_told(log, held) for held, _ in levels] == [expected for _, expected in levels]


def test_the_age_is_a_bound_as_well() -> None:
    """Each bound has its own levels; the sentence names its setting."""
    log = Spooling()
    assert _told(log, 600, age=60) == ["50%", "50%"]
    [line] = log.filled(spooled(Held(1, 600, NOW - 95_000), BOUNDS, NOW))
    assert str(line) == (
        "the spool has reached 90% of a bound: its first body has waited 95 s of 100 "
        "(BLUETICK_SPOOL_MAX_AGE); past the bound webhooks get 503; restore Kafka, or raise "
        "the bound"
    )


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_each_warning_is_a_level_that_was_not_reached_before(fills: list[int]) -> None:
    """A line is logged exactly where the level rises."""
    log = Spooling()
    before = 0
    for held in fills:
        level = (held >= 500) + (held >= 900)
        assert len(_told(log, held)) == (level > before)
        before = level
