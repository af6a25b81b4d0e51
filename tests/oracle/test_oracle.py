"""The oracle: it agrees with the pure code, and the comparison misses no difference."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from cli.simulator.simulate import simulate
from processors.dead_letters import record as dead_letters
from processors.tracking import next_state, timers
from processors.tracking.lifecycle import attempts, ladders, observed_inbound, usual_fact
from processors.tracking.lifecycle.facts import earlier, fact_id
from processors.tracking.lifecycle.statuses import ATTEMPT_RANK, MESSAGE_RANK
from processors.tracking.lifecycle.verdicts import verdict_on
from processors.tracking.outputs import Output
from processors.tracking.timers import PATIENCE
from providers import NAMES
from schemas.codec import decode_observation, encode
from schemas.records import (
    InboundObservation,
    MessageState,
    Observation,
    RawOrigin,
    ViewerState,
    home_key,
    record_keys,
)
from schemas.topics import Topics, partition_of
from schemas.webhook import to_headers
from tests.broker.reading import Read
from tests.examples import examples
from tests.oracle.compare import (
    NEXT_TIMER,
    OUTPUTS,
    Found,
    compare_observations,
    compare_outputs,
)
from tests.oracle.expected import (
    DeadLetter,
    ExpectedOutputs,
    canonical,
    expect_observations,
    expect_outputs,
    observations_in_order,
)
from tests.unit.messages import KEY, Folded, seen
from tests.unit.processors.tracking.test_lifecycle_laws import HISTORIES

TOPICS = Topics("t", providers=NAMES)
PARTITIONS = 3
NOW = round(time.time() * 1000)
MINUTE = 60_000
DAY = 24 * 60 * MINUTE

Log = dict[str, list[Read]]


def record(topic: str, key: str, value: bytes, **headers: str) -> Read:
    encoded = {name: text.encode() for name, text in headers.items()}
    home = key.split("/", 2)[2] if key.startswith("viewer/") else key
    partition = partition_of(home, PARTITIONS)
    return Read(topic, partition, 0, key, value, encoded, NOW)


@cache
def raw_log() -> list[Read]:
    """Simulated bodies, in an order that is the order of their observations."""
    simulation = simulate(
        messages=300, base_time_ms=NOW, seed=5, duplicates=0.2, shuffle=True, malformed=0.05
    )
    log = []
    for number, post in enumerate(simulation.posts):
        webhook = post.received(NOW + number, f"{number}")
        topic = TOPICS.raw(post.source)
        log.append(Read(topic, 0, number, "", post.body, dict(to_headers(webhook)), NOW))
    return log


@cache
def observed() -> list[tuple[str, bytes]]:
    """The records of `observations` as an undisturbed normaliser writes them."""
    return list(observations_in_order(TOPICS, raw_log()))


@cache
def decoded() -> list[Observation]:
    """The same observations as values, each once, though a reply may have two records."""
    return [decode_observation(value) for value in dict.fromkeys(value for _, value in observed())]


def tracked() -> Log:
    """The derived topics as the pure code makes them, every record with its own offset."""
    made = Folded(*decoded())
    log: Log = {f"t.{topic}": [] for topic in (*OUTPUTS, "messages")}
    for output in made.outputs:
        topic = f"t.{output.topic}"
        log[topic].append(record(topic, _key(output), encode(output.record), ce_id=output.id))
    for key, state in (made.states | made.viewers).items():
        due = {NEXT_TIMER: f"{_due(state)}"}
        log[TOPICS.messages].append(record(TOPICS.messages, key, encode(state), **due))
    return {
        name: [replace(one, offset=offset) for offset, one in enumerate(records)]
        for name, records in log.items()
    }


def _key(output: Output) -> str:
    record = output.record
    return home_key(record) if isinstance(record, InboundObservation) else record.message_key


def _due(state: MessageState | ViewerState) -> int:
    """When the next timer is due; those of viewers are not compared."""
    return timers.due(state, PATIENCE) if isinstance(state, MessageState) else 0


@pytest.fixture(scope="module")
def log() -> Log:
    return tracked()


@cache
def expected() -> ExpectedOutputs:
    return expect_outputs(observed(), NOW)


def compared(late: Log, live: Log | None = None) -> list[str]:
    found = Found(late, late if live is None else live)
    return compare_outputs(TOPICS, PARTITIONS, found, expected())


def test_the_oracle_agrees_with_the_pure_code(log: Log) -> None:
    """Both are written independently and compute the same from the same observations."""
    assert sum(map(len, log.values())) > 1000
    assert compared(log) == []


@examples(2)
@given(HISTORIES, st.sampled_from([10, 2 * DAY, 90 * DAY]))
def test_the_oracle_agrees_on_any_history(history: list[Observation], now: int) -> None:
    """Both publish the same records of invented observations, corrections and viewers included."""
    observed = [replaced(one, raw=RawOrigin("r", 0, n, 0)) for n, one in enumerate(history)]
    expected = expect_outputs([(key, encode(o)) for o in observed for key in record_keys(o)], now)
    folded = Folded(*observed)
    fired = {key: timers.fire(one, now, PATIENCE) for key, one in folded.states.items()}
    outputs = [*folded.outputs, *(out for one in fired.values() for out in one.outputs)]

    for topic in OUTPUTS:
        published = [one for key in expected.outputs[topic].values() for one in key]
        made = [
            (o.id, canonical(json.loads(encode(o.record)))) for o in outputs if o.topic == topic
        ]
        assert sorted((one.ce_id, one.record) for one in published) == sorted(made)
    states = {key: one.state for key, one in fired.items()}
    viewers = {k: v for k, v in folded.viewers.items() if states.get(v.message_key)}
    kept = {key: json.loads(encode(state)) for key, state in {**states, **viewers}.items()}
    assert expected.states == kept


def test_the_oracle_shares_no_code_with_tracking() -> None:
    """Importing the oracle imports no module of the tracker, not even through other modules."""
    program = "import sys, tests.oracle.compare; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names = done.stdout.split()
    assert "tests.oracle.lifecycle" in names
    assert [name for name in names if name.startswith("processors.tracking")] == []


def _failure_outranks_delivery(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(ATTEMPT_RANK, "undelivered", 99)


def _failed_attempt_beats_one_under_way(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(MESSAGE_RANK, "sent", -1)


def _later_report_counts(patch: pytest.MonkeyPatch) -> None:
    def later(one: Any, two: Any) -> Any:
        return two if earlier(one, two) is one else one

    for module in (ladders, observed_inbound, usual_fact):
        patch.setattr(module, "earlier", later)


def _contradiction_is_late(patch: pytest.MonkeyPatch) -> None:
    def changed(*given: Any) -> str:
        return "late" if verdict_on(*given) == "contradiction" else verdict_on(*given)

    patch.setattr(attempts, "verdict_on", changed)


def _viewers_are_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(next_state, "fact_id", lambda one: fact_id(one)._replace(viewer=""))


def _states_expire_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(timers, "_TTL", 44 * DAY)


@pytest.mark.parametrize(
    ("break_rule", "topic"),
    [
        (_failure_outranks_delivery, "statuses"),
        (_failed_attempt_beats_one_under_way, "messages"),
        (_later_report_counts, "messages"),
        (_contradiction_is_late, "events"),
        (_viewers_are_one, "statuses"),
        (_states_expire_early, "messages"),
    ],
)
def test_a_broken_rule_of_the_lifecycle_is_noticed(
    monkeypatch: pytest.MonkeyPatch, break_rule: Callable[[pytest.MonkeyPatch], None], topic: str
) -> None:
    """Negative controls: the pure code with one rule broken differs from the oracle."""
    break_rule(monkeypatch)
    wrong = compared(tracked())
    assert any(one.startswith(topic) for one in wrong), wrong


def lost(records: list[Read]) -> list[Read]:
    return [*records[:7], *records[8:]]


def doubled(records: list[Read]) -> list[Read]:
    return [*records, replace(records[7], offset=len(records))]


def changed(records: list[Read]) -> list[Read]:
    value = json.loads(records[7].value)
    value["raw" if "raw" in value else "updated_at"] = 1
    return [*records[:7], replace(records[7], value=encode(value)), *records[8:]]


def renamed(records: list[Read]) -> list[Read]:
    """Give one record another id."""
    return [*records[:7], replace(records[7], headers={"ce_id": b"0" * 32}), *records[8:]]


def swapped(records: list[Read]) -> list[Read]:
    """Exchange two records of one key."""
    keys = [one.key for one in records]
    first = next(n for n, key in enumerate(keys) if key in keys[n + 1 :])
    second = keys.index(keys[first], first + 1)
    records = list(records)
    records[first], records[second] = records[second], records[first]
    return records


def misplaced(records: list[Read]) -> list[Read]:
    return [replace(records[0], partition=records[0].partition + 1), *records[1:]]


# A state may be written again, and the last of a key counts; an inbound message is alone.
DIFFERENCES = [
    (topic, damage, words)
    for damage, words, topics in (
        (lost, "lost", (*OUTPUTS, "messages")),
        (doubled, "doubled", OUTPUTS),
        (doubled, "of the same ce_id", OUTPUTS),
        (changed, "changed or invented", (*OUTPUTS, "messages")),
        (renamed, "changed or invented", OUTPUTS),
        (swapped, "out of order", ("statuses", "events")),
        (misplaced, "on the wrong partition", (*OUTPUTS, "messages")),
    )
    for topic in topics
]


@pytest.mark.parametrize(("topic", "damage", "words"), DIFFERENCES)
def test_each_difference_is_reported(
    log: Log, topic: str, damage: Callable[[list[Read]], list[Read]], words: str
) -> None:
    """A record that is lost, doubled, changed, out of order or misplaced, with its topic."""
    name = f"t.{topic}"

    wrong = compared({**log, name: damage(log[name])})

    assert any(topic in one and words in one for one in wrong), wrong


def test_a_record_that_only_the_live_reader_saw_is_reported(log: Log) -> None:
    """A record that was seen and is gone was never committed."""
    wrong = compared({**log, "t.events": lost(log["t.events"])}, log)
    assert any("aborted read" in one for one in wrong)


def test_the_topics_of_normalise_are_compared_too() -> None:
    """Observations and dead letters are sets; repeats are reported if nothing was disturbed."""
    observations = [record(TOPICS.observations, *one) for one in observed()]
    right = expect_observations(TOPICS, raw_log())
    letters = [_letter(one) for one in sorted(right.dead_letters)]

    def wrong(seen: list[Read], kept: list[Read], *, repeats: bool = False) -> list[str]:
        return compare_observations(seen, kept, right, repeats=repeats)

    assert letters
    assert wrong(observations, letters) == []
    assert wrong(observations[1:], letters) != []
    assert wrong(observations, letters[1:]) != []
    assert wrong([*observations, observations[0]], letters) != []
    assert wrong([*observations, observations[0]], letters, repeats=True) == []
    other = replace(observations[0], key="smsmanager/-/invented")
    assert wrong([*observations, other], letters, repeats=True) != []


def _letter(letter: DeadLetter) -> Read:
    headers = {
        dead_letters.TOPIC: letter.topic,
        dead_letters.PARTITION: f"{letter.partition}",
        dead_letters.OFFSET: f"{letter.offset}",
        dead_letters.POINTER: letter.pointer,
        dead_letters.CODE: letter.code,
    }
    encoded = {name: text.encode() for name, text in headers.items()}
    return Read(TOPICS.dead_letters, 0, 0, "", letter.value, encoded, NOW)


def events(*observations: bytes, now: int = NOW) -> Iterator[str]:
    expected = expect_outputs([(KEY, one) for one in observations], now)
    for one in expected.outputs["events"][KEY]:
        yield json.loads(one.record)["event"]


def test_timers_are_expected_by_the_times_of_the_log() -> None:
    """`stalled` comes before the next report, which withdraws it; `forgotten` comes last."""
    waiting = encode(seen("sending", NOW - 60 * MINUTE))
    assert list(events(waiting)) == ["advanced", "stalled"]
    assert list(events(waiting, now=NOW - 51 * MINUTE)) == ["advanced"]
    assert list(events(waiting, encode(seen("delivered", NOW)))) == [
        "advanced",
        "stalled",
        "advanced",
        "resumed",
    ]
    old = encode(seen("sent", NOW - 46 * DAY))
    assert list(events(old)) == ["advanced", "stalled", "forgotten"]
    assert expect_outputs([(KEY, old)], NOW).states == {KEY: None}
