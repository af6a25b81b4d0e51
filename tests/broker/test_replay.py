"""Replays on a real broker, by the real command line: planned, run, killed, resumed, reported."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, cycle
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from cli.options import Range
from cli.processes import Service, running
from cli.replay.range_options import resolve, wanted
from cli.simulator.simulate import simulate
from processors.dead_letters import record as deadletters
from processors.normalising.body_normaliser import Bodies
from processors.normalising.normaliser import Normaliser
from processors.replay import plan as planning
from processors.replay import run as replaying
from processors.replay.progress import Replay
from processors.runtime import log_ranges
from processors.runtime.consumer_groups import lag
from processors.runtime.group_worker import GroupWorker
from processors.runtime.raw_record import Consumed
from processors.runtime.record_batches import Outbox
from providers.smsmanager import parser as smsmanager
from providers.whapi import parser as whapi
from schemas.processor_list import NORMALISE
from schemas.webhook import to_headers
from service.errors import Problem
from service.settings import Settings
from tests.broker.producing import Record, write, write_aborted
from tests.broker.reading import Read, caught_up, read
from tests.e2e.commands import command, run
from tests.oracle.compare import OUTPUTS, Found, compare_outputs
from tests.oracle.expected import expect_outputs, observations_in_order, records_of

NOW = round(time.time() * 1000)
MESSAGES = 400
CHUNK = 20


async def bluetick(settings: Settings, *arguments: str, **environment: str) -> tuple[int, str]:
    return await run(*arguments, **_environment(settings), **environment)


async def replay_json(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Return the output of `bluetick replay … --json`."""
    code, output = await bluetick(settings, "replay", *arguments, "--json")
    assert code == 0, output
    found: dict[str, Any] = json.loads(output)
    return found


def bodies(settings: Settings, seed: int, messages: int = MESSAGES) -> list[Record]:
    """Return raw records of simulated messages, those of a provider in order."""
    simulation = simulate(
        messages=messages, base_time_ms=NOW, seed=seed, duplicates=0.1, shuffle=True, malformed=0.03
    )
    webhooks = [
        post.received(NOW + number, f"{seed}-{number}")
        for number, post in enumerate(simulation.posts)
    ]
    return [
        Record(settings.topics.raw(h.provider), n % 3, None, h.body, to_headers(h), h.received_at)
        for n, h in enumerate(webhooks)
    ]


async def contents(settings: Settings, topics: Iterable[str]) -> dict[str, list[Read]]:
    """Read several topics at the same time."""
    names = list(topics)
    found = await asyncio.gather(*(read(settings.kafka, name) for name in names))
    return dict(zip(names, found, strict=True))


async def raw(settings: Settings) -> list[Read]:
    """Return all raw records in the order of their arrival."""
    found = await contents(settings, settings.topics.raw_topics)
    return sorted(chain(*found.values()), key=lambda record: record.timestamp)


async def lacking(settings: Settings) -> Counter[tuple[str, str, str]]:
    """Count the facts in the bodies that are not on their topics, by provider, status and key."""
    topics = settings.topics
    expected = expect_outputs(observations_in_order(topics, await raw(settings)), NOW)
    published = await contents(settings, [topics.statuses, topics.inbound])
    there = {_id(record) for record in chain(*published.values())}
    found: Counter[tuple[str, str, str]] = Counter()
    for topic in ("statuses", "inbound"):
        for key, (ce_id, text) in expected.all(topic):
            if (key, ce_id) not in there:
                record = json.loads(text)
                found[record["provider"], record.get("status", "inbound"), key] += 1
    return found


def new_facts(plan: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(f["provider"], f["status"]): f["new"] for f in plan["facts"] if f["new"]}


def reported(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    counts: Counter[tuple[str, str]] = Counter()
    for fact in report["facts"]:
        counts[fact["provider"], fact["status"]] += fact["count"]
    return dict(counts)


async def everything_is_right(settings: Settings) -> None:
    """Assert that the oracle, which shares no code with the tracker, expects the same topics."""
    names = [f"{settings.namespace}.{name}" for name in OUTPUTS] + [settings.topics.messages]
    found = await contents(settings, [*names, settings.topics.observations])
    observations = records_of(found.pop(settings.topics.observations))
    expected = expect_outputs(observations, NOW)
    differences = compare_outputs(
        settings.topics, settings.partitions, Found(found, found), expected
    )
    assert differences == []


@pytest.fixture
async def raw_only(settings: Settings) -> Settings:
    """A few hundred bodies that are not normalised."""
    await write(settings, bodies(settings, 7, 60))
    return settings


@pytest.fixture
async def tracked(raw_only: Settings) -> Settings:
    """The same bodies, normalised and tracked."""
    await _normalise(raw_only)
    return raw_only


@pytest.mark.long
async def test_a_fixed_mapping_is_replayed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown word gets its status: exactly the planned facts are published, once.

    Live traffic continues meanwhile, and the tracker is killed during the replay.
    """
    # With a static name, the killed tracker's partitions do not wait for its session to end.
    settings = settings.model_copy(update={"instance": "one"})
    await write(settings, bodies(settings, 7))
    async with running(settings, [_service("track", settings)], _silent) as [tracker]:
        with monkeypatch.context() as patch:
            patch.delitem(smsmanager.STATUSES, "delivered")
            patch.delitem(whapi.STATUSES, "read")
            await _normalise(settings)
        await caught_up(settings.kafka, settings.topics)
        expected = await lacking(settings)
        assert expected.total() > MESSAGES / 4
        async with running(settings, [_service("normalise", settings)], _silent):
            enough = asyncio.Event()
            live = asyncio.create_task(_flow(settings, bodies(settings, 8), enough))
            plan = await replay_json(settings, "plan", "--from", "oldest")
            assert new_facts(plan) == _by_status(expected)
            run_ = ("replay", "run", "--from", "oldest", "--yes", "--id", "fixed")
            replaying = asyncio.create_task(bluetick(settings, *run_))
            while not await _of(settings, settings.topics.statuses, "fixed"):
                pass  # the request to Kafka is the pause
            tracker.kill()
            async with running(settings, [_service("track", settings)], _silent):
                code, output = await replaying
                assert code == 0, output
                assert not live.done()  # live traffic never stopped
                enough.set()
                await live
                await caught_up(settings.kafka, settings.topics)
                report = await replay_json(settings, "report", "fixed")
                assert reported(report) == _by_status(expected)
                assert (report["records_left"], report["tracker_behind"]) == (0, 0)

                again = ("replay", "run", "--from", "oldest", "--yes", "--id", "again")
                code, output = await bluetick(settings, *again, "--rate", "0")
                assert code == 0, output
                report = await replay_json(settings, "report", "again", "--wait", "30")
                assert (report["facts"], report["events"]) == ([], {})

    assert await lacking(settings) == Counter()
    await everything_is_right(settings)


@pytest.mark.parametrize("point", ["replay.after_send", "replay.before_commit"])
async def test_a_killed_replay_continues_at_its_position(tracked: Settings, point: str) -> None:
    """After SIGKILL, `--id` alone replays the rest of the same range and reports its end."""
    begin = ("replay", "run", "--from", "oldest", "--yes", "--id", "k", "--rate", "500")
    code, output = await bluetick(tracked, *begin, BLUETICK_FAILPOINT=f"{point}=kill@3")
    assert code == -signal.SIGKILL, output
    [half] = await listed(tracked)
    assert 0 < half["records_left"] < half["records"]
    await write(tracked, bodies(tracked, 9, 10))  # after the range

    again = await bluetick(tracked, "replay", "run", "--yes", "--id", "k", "--rate", "0")
    finished = await bluetick(tracked, "replay", "run", "--yes", "--id", "k")

    assert again[0] == 0, again[1]
    assert finished[0] == 0
    assert "finished already" in finished[1]
    [done] = await listed(tracked)
    assert (done["records_left"], done["records"]) == (0, half["records"])
    topic = tracked.topics.observations
    replayed = {(r.key, r.value) for r in await _of(tracked, topic, "k")}
    live = {(r.key, r.value) for r in await read(tracked.kafka, topic)} - replayed
    assert {(key, value.replace(b',"replay":"k"', b"")) for key, value in replayed} == live


async def listed(settings: Settings) -> list[dict[str, Any]]:
    found: Any = await replay_json(settings, "list")
    return list(found)


async def test_ctrl_c_keeps_the_progress(tracked: Settings) -> None:
    """It ends at once and prints the command that continues; that command works."""
    begin = ("replay", "run", "--from", "oldest", "--source", "whapi", "--yes", "--rate", "20")
    # The process stops with its second batch acknowledged, so that the signal finds it half way.
    halfway = _environment(tracked) | {"BLUETICK_FAILPOINT": "replay.before_commit=stop@2"}
    async with command(*begin, "--id", "c", **halfway) as replaying:
        await replaying.until_stopped()
        replaying.interrupt()
        replaying.signal(signal.SIGCONT)
        assert await replaying.ended() == 130
        assert "resume with: bluetick replay run --yes --id c" in replaying.output
    [half] = await listed(tracked)
    assert 0 < half["records_left"] < half["records"]

    code, output = await bluetick(tracked, "replay", "run", "--yes", "--id", "c", "--rate", "0")

    assert code == 0, output
    [whole] = await listed(tracked)
    assert (whole["records_left"], whole["source"]) == (0, "whapi")
    replayed = await _of(tracked, tracked.topics.observations, "c")
    keys = {str(record.key).partition("/")[0] for record in replayed}
    assert keys == {"whapi"}


@pytest.mark.parametrize("error", [KafkaTimeoutError(), Problem("Kafka does not answer")])
async def test_an_interrupted_replay_prints_how_to_continue(
    tracked: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """After a failure of sending or of reading, and while it waits for the tracker."""

    async def fail(_: Outbox) -> None:
        raise error

    monkeypatch.setattr(Outbox, "send", fail)
    spec, _ = await resolve(tracked, wanted(Range(since="oldest")))
    replay, limits = Replay("broken", NOW, spec, {}), replaying.Limits(rate=0, backlog=1000)

    with pytest.raises(Problem, match=r"resume with: bluetick replay run --yes --id broken$"):
        await replaying.run(tracked, replay, limits, lambda _: None, asyncio.Event())


async def test_progress_ends_at_its_total(raw_only: Settings) -> None:
    """Offsets without a record, such as those of an aborted transaction, are passed like others."""
    await write_aborted(raw_only, raw_only.topics.raw("whapi"), 0)
    await write(raw_only, bodies(raw_only, 9, 60))
    await _normalise(raw_only)
    spec, _ = await resolve(raw_only, wanted(Range(since="oldest")))
    shown: dict[str, tuple[int, int]] = {}

    plan = await planning.plan(
        raw_only, spec, 0, lambda what, *count: shown.__setitem__(what, count)
    )
    limits, replay = replaying.Limits(0, 0), Replay("bars", NOW, spec, {})
    done = await replaying.run(raw_only, replay, limits, lambda _: None, asyncio.Event())

    total = planning.size(spec.spans)
    assert plan.counts.bodies < total
    assert shown["the range"] == (total, total)
    assert (done.passed, done.total) == (total, total)


async def test_an_interrupted_plan_leaves_nothing_open(tracked: Settings) -> None:
    """Its consumers are closed before it ends, so that Ctrl-C logs no warning."""
    spec, _ = await resolve(tracked, wanted(Range(since="oldest")))
    before = asyncio.all_tasks()

    def cut_off(*_: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await planning.plan(tracked, spec, 0, cut_off)

    assert asyncio.all_tasks() <= before


@pytest.mark.long
async def test_replays_at_the_same_time(
    raw_only: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overlapping replays of missing facts publish each fact once in total."""
    with monkeypatch.context() as patch:
        patch.setattr(Bodies, "observed", lambda *_: iter(()))  # observations are lost
        await _normalise(raw_only)
    expected = await lacking(raw_only)
    ids = ("one", "two")
    replay = ("replay", "run", "--yes", "--rate", "0", "--from", "oldest", "--id")
    runs = asyncio.gather(*(bluetick(raw_only, *replay, id_) for id_ in ids))
    async with running(raw_only, [_service("track", raw_only)], _silent):
        for code, output in await runs:
            assert code == 0, output
        report = ("report", "--wait", "30")
        reports = await asyncio.gather(*(replay_json(raw_only, *report, id_) for id_ in ids))

    found = Counter(reported(reports[0])) + Counter(reported(reports[1]))
    assert found == _by_status(expected)
    assert await lacking(raw_only) == Counter()
    await everything_is_right(raw_only)


async def test_a_replay_of_dead_letters_only(
    raw_only: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies with dead letters are selected by the code of the dead letter."""
    with monkeypatch.context() as patch:
        patch.setattr(smsmanager, "STATUSES", None)  # code that needs it fails
        no_limits = {"dead_letter_ratio": 0, "dead_letter_run": 0}
        await _normalise(raw_only.model_copy(update=no_limits))

    spec, _ = await resolve(raw_only, wanted(Range(since="oldest", only="internal_error")))
    plan = await planning.plan(raw_only, spec, 0, lambda *_: None)

    letters = map(deadletters.read, await _consumed(raw_only, raw_only.topics.dead_letters))
    failed = {one.letter.raw for one in letters if one and one.letter.code == "internal_error"}
    assert plan.counts.bodies == len(failed) > 0
    assert {kind.provider for kind in plan.facts} == {"smsmanager"}
    assert sum(facts["new"] for facts in plan.facts.values()) > 0


async def test_a_source_without_records_is_reported(
    raw_only: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped source: nothing is planned, and nothing published."""
    with monkeypatch.context() as patch:
        patch.setattr(Bodies, "observed", lambda *_: iter(()))
        await _normalise(raw_only)
    asked = ("--from", "oldest", "--source", "shop")
    for typed in (("plan", *asked), ("run", "--yes", *asked)):
        code, output = await bluetick(raw_only, "replay", *typed)
        assert code == 1, output
        assert output.rstrip().endswith(
            "correct --source: its bodies are from smsmanager, whapi"
        ), output
    assert await _consumed(raw_only, raw_only.topics.observations) == []


async def test_an_invalid_range_is_reported(raw_only: Settings) -> None:
    """One sentence has the mistake in the range, and what to type."""
    for asked, expected in (
        (Range(since="-1h", until="-2h"), "is not before its end"),
        (Range(since="yesterday"), "'yesterday' is not a time"),
        (Range(since="oldest", provider="unknown"), "there is no provider 'unknown'"),
        (Range("whapi", offsets=["0:5-99999"]), "does not hold all of 5-99999"),
        (Range(offsets=["0:1-2"]), "name it with --provider"),
        (Range("whapi", since="-1h", offsets=["0:1-2"]), "by time or by offsets"),
        (Range(), "the range has no start"),
        (Range(since="oldest", only="nonsense"), "is neither a status"),
        # The normaliser will read these records anyway.
        (Range(since="oldest"), "the normaliser has not read that range yet"),
    ):
        with pytest.raises(Problem, match=expected):
            await resolve(raw_only, wanted(asked))


async def test_invalid_commands(raw_only: Settings) -> None:
    """They end with one sentence, exit code 1 and no traceback."""
    for arguments, expected in (
        (["run", "--from", "oldest"], "add --yes"),
        (["run", "--yes", "--id", "x"], "there is no replay x"),
        (["run", "--yes", "--id", "a/b", "--from", "-1h"], "is not a valid replay id"),
        (["report", "x"], "there is no replay x"),
    ):
        code, output = await bluetick(raw_only, "replay", *arguments)
        assert (code, output.count("bluetick:")) == (1, 1), output
        assert expected in output
        assert "Traceback" not in output


async def test_a_range_ends_where_the_normaliser_is(tracked: Settings) -> None:
    """Records that it has not read yet are left to it, and counted."""
    before, _ = await resolve(tracked, wanted(Range(since="oldest")))
    more = bodies(tracked, 9, 10)
    await write(tracked, more)

    spec, left = await resolve(tracked, wanted(Range(since="oldest")))

    assert (spec, left) == (before, len(more))


async def test_an_id_in_use_means_the_same_range(tracked: Settings) -> None:
    """A replay's id with another range is refused; the sentence has the id's range."""
    part = ("replay", "run", "--yes", "--id", "u", "--provider", "whapi", "--offsets")
    assert (await bluetick(tracked, *part, "0:0-5"))[0] == 0

    code, output = await bluetick(tracked, *part, "0:0-6")

    assert code == 1
    assert "the replay u has begun with another range" in output
    assert "0:0-5" in output
    assert (await bluetick(tracked, *part, "0:0-5"))[0] == 0


async def _normalise(settings: Settings) -> None:
    """Normalise all records in this process, in which code can be patched."""
    stop = asyncio.Event()
    work = asyncio.create_task(GroupWorker(NORMALISE, settings, Normaliser).run(stop))
    group = settings.topics.group("normalise")
    try:
        async with asyncio.timeout(60):
            while await lag(settings, group, settings.topics.raw_topics):
                pass  # the request to Kafka is the pause
    finally:
        stop.set()
        await work


async def _flow(settings: Settings, records: Sequence[Record], enough: asyncio.Event) -> None:
    """Write live traffic until `enough`: a chunk after the previous one is normalised.

    After the last chunk it begins again, as providers repeat webhooks.
    """
    group = settings.topics.group("normalise")
    for chunk in cycle(range(0, len(records), CHUNK)):
        if enough.is_set():
            return
        await write(settings, records[chunk : chunk + CHUNK])
        while await lag(settings, group, settings.topics.raw_topics):
            pass  # the request to Kafka is the pause


async def _consumed(settings: Settings, topic: str) -> list[Consumed]:
    log = await log_ranges.everything(settings, [topic])
    return [one async for batch in log_ranges.consumed(settings, log) for one in batch.records]


async def _of(settings: Settings, topic: str, replay: str) -> list[Read]:
    """Return a topic's records that name the replay."""
    mark = f'"replay":"{replay}"'.encode()
    return [record for record in await read(settings.kafka, topic) if mark in record.value]


def _by_status(facts: Counter[tuple[str, str, str]]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for (provider, status, _), count in facts.items():
        counts[provider, status] += count
    return counts


def _id(record: Read) -> tuple[str, str]:
    return record.key, record.headers["ce_id"].decode()


def _environment(settings: Settings) -> dict[str, str]:
    given = {"kafka": settings.kafka, "namespace": settings.namespace, "partitions": "3"}
    return {f"BLUETICK_{n.upper()}": v for n, v in given.items()} | {"BLUETICK_LOG_LEVEL": "ERROR"}


def _service(name: str, settings: Settings) -> Service:
    return Service(name, getattr(settings, f"{name}_health_port"))


def _silent(_: str, __: str) -> None:
    pass
