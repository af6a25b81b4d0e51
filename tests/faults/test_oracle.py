"""The oracle and the judge: they agree with the pure code, and no difference escapes them."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from cli.simulator.simulate import simulate
from processors.dead_letters import record as deadletters
from processors.tracking import timers
from processors.tracking.restore import NEXT_TIMER
from processors.tracking.timers import PATIENCE
from schemas.codec import encode
from schemas.records import Observation, RawOrigin, record_keys
from schemas.topics import Topics, partition_of
from schemas.webhook import to_headers
from tests.broker.reading import Read
from tests.broker.recomputation import recompute
from tests.faults.judge import OUTPUTS, Found, judge, judge_normalised
from tests.faults.oracle import (
    Letter,
    Tracked,
    canonical,
    expect_observations,
    expect_tracked,
)
from tests.unit.messages import KEY, Folded, seen
from tests.unit.processors.tracking.test_lifecycle_laws import HISTORIES

TOPICS = Topics("t")
PARTITIONS = 3
NOW = round(time.time() * 1000)
MINUTE = 60_000
DAY = 24 * 60 * MINUTE

Log = dict[str, list[Read]]


def record(topic: str, key: str, value: bytes, **headers: str) -> Read:
    encoded = {name: text.encode() for name, text in headers.items()}
    home = key.split("/", 2)[2] if key.startswith("viewer/") else key
    place = partition_of(home, PARTITIONS)
    return Read(topic, place, 0, key, value, encoded, NOW)


@cache
def raw_log() -> list[Read]:
    """Simulated bodies, in an order that is the order of their observations."""
    simulation = simulate(
        messages=300, base_time_ms=NOW, seed=5, duplicates=0.2, shuffle=True, malformed=0.05
    )
    log = []
    for number, post in enumerate(simulation.posts):
        hook = post.received(NOW + number, f"{number}")
        topic = TOPICS.raw(post.source)
        log.append(Read(topic, 0, number, "", post.body, dict(to_headers(hook)), NOW))
    return log


@cache
def observed() -> list[Read]:
    """The observations topic as an undisturbed normaliser writes it."""
    log = []
    for raw in raw_log():
        found = expect_observations(TOPICS, [raw]).observations
        values = sorted(found, key=lambda one: (json.loads(one[1])["raw"]["index"], one))
        log += [record(TOPICS.observations, *one) for one in values]
    return log


@pytest.fixture(scope="module")
def log() -> Log:
    """The derived topics as the pure code makes them, every record with its own offset."""
    made = recompute(TOPICS, raw_log())
    log = {
        f"t.{topic}": [
            record(f"t.{topic}", key, value, ce_id=id_) for key, id_, value in made.outputs[topic]
        ]
        for topic in OUTPUTS
    }
    log[TOPICS.messages] = [
        record(TOPICS.messages, key, value, **{NEXT_TIMER: f"{expected().due.get(key, 0)}"})
        for key, value in made.messages.items()
    ]
    return {
        name: [replace(one, offset=offset) for offset, one in enumerate(records)]
        for name, records in log.items()
    }


@cache
def expected() -> Tracked:
    return expect_tracked(observed(), NOW)


def judged(late: Log, live: Log | None = None) -> list[str]:
    found = Found(late, late if live is None else live)
    return judge(TOPICS, PARTITIONS, found, expected())


def test_the_oracle_agrees_with_the_pure_code(log: Log) -> None:
    """Written apart from each other, both say the same of the same observations."""
    assert sum(map(len, log.values())) > 1000
    assert judged(log) == []


@settings(max_examples=300, deadline=None)
@given(HISTORIES, st.sampled_from([10, 2 * DAY, 90 * DAY]))
def test_the_oracle_agrees_on_any_history(history: list[Observation], now: int) -> None:
    """Both publish the same records of made-up observations, corrections and viewers included."""
    told = [replaced(one, raw=RawOrigin("r", 0, n, 0)) for n, one in enumerate(history)]
    log = [
        record(TOPICS.observations, key, encode(one)) for one in told for key in record_keys(one)
    ]
    expected, folded = expect_tracked(log, now), Folded(*told)
    fired = {key: timers.fire(one, now, PATIENCE) for key, one in folded.states.items()}
    outputs = [*folded.outputs, *(out for one in fired.values() for out in one.outputs)]

    for topic in OUTPUTS:
        published = [one for key in expected.outputs[topic].values() for one in key]
        made = [json.loads(encode(o.record)) for o in outputs if o.topic == topic]
        assert sorted(published) == sorted(map(canonical, made))
    states = {key: one.state for key, one in fired.items()}
    viewers = {k: v for k, v in folded.viewers.items() if states.get(v.message_key)}
    kept = {key: json.loads(encode(state)) for key, state in {**states, **viewers}.items()}
    for state in filter(None, kept.values()):
        del state["version"]
    assert expected.states == kept


def lost(records: list[Read]) -> list[Read]:
    return [*records[:7], *records[8:]]


def doubled(records: list[Read]) -> list[Read]:
    return [*records, replace(records[7], offset=len(records))]


def changed(records: list[Read]) -> list[Read]:
    value = json.loads(records[7].value)
    value["raw" if "raw" in value else "updated_at"] = 1
    return [*records[:7], replace(records[7], value=encode(value)), *records[8:]]


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
        (swapped, "out of order", ("statuses", "events")),
        (misplaced, "on the wrong partition", (*OUTPUTS, "messages")),
    )
    for topic in topics
]


@pytest.mark.parametrize(("topic", "damage", "words"), DIFFERENCES)
def test_no_difference_escapes(
    log: Log, topic: str, damage: Callable[[list[Read]], list[Read]], words: str
) -> None:
    """One record lost, doubled, changed, out of order or elsewhere is told, and where."""
    name = f"t.{topic}"

    wrong = judged({**log, name: damage(log[name])})

    assert any(topic in one and words in one for one in wrong), wrong


def test_what_only_the_live_reader_saw_is_told(log: Log) -> None:
    """A record that was seen and is gone was never committed."""
    wrong = judged({**log, "t.events": lost(log["t.events"])}, log)
    assert any("aborted read" in one for one in wrong)


def test_what_normalise_did_is_judged_too() -> None:
    """Its observations and dead letters are sets; repeats are told if nothing was disturbed."""
    observations = observed()
    right = expect_observations(TOPICS, raw_log())
    letters = [_letter(one) for one in sorted(right.letters)]

    def wrong(seen: list[Read], kept: list[Read], *, repeats: bool = False) -> list[str]:
        return judge_normalised(seen, kept, right, repeats=repeats)

    assert letters
    assert wrong(observations, letters) == []
    assert wrong(observations[1:], letters) != []
    assert wrong(observations, letters[1:]) != []
    assert wrong([*observations, observations[0]], letters) != []
    assert wrong([*observations, observations[0]], letters, repeats=True) == []
    other = replace(observations[0], key="smsmanager/-/invented")
    assert wrong([*observations, other], letters, repeats=True) != []


def _letter(letter: Letter) -> Read:
    headers = {
        deadletters.TOPIC: letter.topic,
        deadletters.PARTITION: f"{letter.partition}",
        deadletters.OFFSET: f"{letter.offset}",
        deadletters.POINTER: letter.pointer,
        deadletters.CODE: letter.code,
    }
    encoded = {name: text.encode() for name, text in headers.items()}
    return Read(TOPICS.dead_letters, 0, 0, "", letter.value, encoded, NOW)


def events(*told: bytes, now: int = NOW) -> Iterator[str]:
    tracked = expect_tracked([record(TOPICS.observations, KEY, one) for one in told], now)
    for one in tracked.outputs["events"][KEY]:
        yield json.loads(one)["event"]


def test_timers_are_expected_by_the_times_of_the_log() -> None:
    """An alarm comes before what is told next, is withdrawn by it, and the end comes at the end."""
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
    assert expect_tracked([record(TOPICS.observations, KEY, old)], NOW).states == {KEY: None}
