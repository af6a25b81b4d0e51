"""Dead letters on a real Kafka: many of one source, a topic that refuses them, a deleted log."""

import asyncio
import hashlib
import json
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from cli.dead_letters.causes import Selection, grouped
from cli.dead_letters.reader import read_selected
from cli.processes import Running, Service, running
from cli.simulator import http_client
from console.actions import replay as page_replay
from console.actions import retry as page_retry
from console.actions.jobs import Job
from deploy import topics
from processors.dead_letters import record as letters
from processors.normalising.normaliser import Normaliser
from processors.runtime.group_worker import GroupWorker
from providers.contract import DeadLetter
from schemas.coordinates import Coordinates
from schemas.processor_list import NORMALISE
from service.errors import Problem
from service.metrics.registry import exposed
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, committed, read
from tests.broker.running_ingest import until
from tests.e2e.commands import run
from tests.metrics_page import Page

BAD = b"not JSON"
SECONDS = 60


def good(number: int) -> bytes:
    entry = {"message_id": f"m-{number}", "gateway": "sms", "timestamp": 1_700_000_000 + number}
    return json.dumps([{**entry, "result": "delivered", "type": "outgoing"}]).encode()


async def arrive(
    settings: Settings, *bodies: bytes, provider: str = "smsmanager", partition: int = 0
) -> None:
    topic = settings.topics.raw(provider)
    await write(settings, [Record(topic, partition, None, body) for body in bodies])


class Log:
    """The log lines of a service."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, _: str, line: str) -> None:
        self.lines.append(line)

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines)


@asynccontextmanager
async def normaliser(settings: Settings, log: Log | None = None) -> AsyncIterator[Running]:
    service = Service("normalise", settings.health_port("normalise"))
    async with running(settings, [service], log or Log()) as [one]:
        assert (await http_client.get(service.url, "/health/started")).status == 200
        yield one


async def health(settings: Settings) -> list[str]:
    """Return the problems on the normaliser's health page; empty if it is ready."""
    url = f"http://127.0.0.1:{settings.health_port('normalise')}"
    page = json.loads((await http_client.get(url, "/health/ready")).body)
    assert page["ready"] == (not page["problems"])
    return [str(problem) for problem in page["problems"]]


async def failed_rounds(settings: Settings) -> int:
    """Return how many rounds of the normaliser have failed."""
    url = f"http://127.0.0.1:{settings.health_port('normalise')}"
    page = Page((await http_client.get(url, "/metrics")).body.decode())
    return page.sum("bluetick_failed_rounds_total")


async def until_reported(settings: Settings, words: str) -> str:
    """Wait until health has a problem with `words`; returns the sentence."""
    async with asyncio.timeout(SECONDS):
        while True:
            for problem in await health(settings):
                if words in problem:
                    return problem
            await asyncio.sleep(0.05)


async def configure(settings: Settings, topic: str | None = None, **config: str) -> None:
    """Replace the settings of a topic, by default the topic of dead letters."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    named = {name.replace("_", "."): value for name, value in config.items()}
    name = topic or settings.topics.dead_letters
    resource = ConfigResource(ConfigResourceType.TOPIC, name, named)
    await admin.alter_configs([resource])
    await admin.close()


async def delete(settings: Settings) -> None:
    """Delete the topic of dead letters."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([settings.topics.dead_letters])
    await admin.close()


async def cut(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Delete a partition's records before an offset, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(offset)})
    await admin.close()


async def position(settings: Settings, provider: str) -> int:
    """Return the normaliser's committed offset on the first partition."""
    group, topic = settings.topics.group("normalise"), settings.topics.raw(provider)
    return max(0, (await committed(settings.kafka, group, topic))[0])


def by(source: str) -> list[tuple[str, bytes]]:
    """Return the header that names the source of a body."""
    return [("ce_source", f"/webhooks/{source}".encode())]


async def test_too_many_dead_letters_stop_their_source_only(settings: Settings) -> None:
    """Its bodies are kept whole; other sources of the provider and partition continue."""
    limited = settings.model_copy(update={"dead_letter_run": 20})
    raw = settings.topics.raw("smsmanager")
    log = Log()

    async def sent(source: str, *bodies: bytes) -> None:
        await write(settings, [Record(raw, 0, None, body, by(source)) for body in bodies])
        await caught_up_with(settings.kafka, settings.topics, "normalise")

    async with normaliser(limited, log) as started:
        await sent("tenant-a", *[BAD] * 20, good(1))
        assert not await health(settings)
        await sent("tenant-b", *[BAD] * 21, *map(good, range(100, 109)))
        sentence = await until_reported(settings, "source tenant-b of smsmanager is stopped")
        await sent("tenant-a", *[BAD] * 20, good(2))
        numbers = await http_client.get(started.service.url, "/metrics")
        live = await http_client.get(started.service.url, "/health/live")
        # Ten of a hundred are tried, and then it continues by itself.
        await sent("tenant-b", *map(good, range(200, 300)))
        assert not await health(settings)
        await sent("tenant-b", good(300))
    assert (
        f"21 bodies in a row are dead letters, most of them not_json, for example {raw}/0/21"
        in (sentence)
    )
    assert "BLUETICK_DEAD_LETTER_RUN" in sentence
    assert b'bluetick_dead_letter_stopped{provider="smsmanager"} 1.0' in numbers.body
    assert b'bluetick_dead_letter_stopped{provider="whapi"} 0.0' in numbers.body
    assert live.status == 200
    assert started.exit_code == 0
    assert sum("ERROR" in line and sentence in line for line in log.lines) == 1
    assert log.count("source tenant-b of smsmanager resumes") == 1

    kept = await read(settings.kafka, settings.topics.dead_letters)
    aside = [one for one in kept if one.headers["dead-letter-code"] == b"source_stopped"]
    assert {one.headers["ce_source"] for one in aside} == {b"/webhooks/tenant-b"}
    done = await observed(settings)
    assert {"m-1", "m-2", "m-300"} <= done
    sent_by_b = [*range(100, 109), *range(200, 300)]
    # Each body became an observation, or is kept whole.
    tried = [good(n) for n in sent_by_b if f"m-{n}" in done]
    assert sorted([*(one.value for one in aside), *tried]) == sorted(map(good, sent_by_b))

    result = json.loads(await dead_letters(settings, "retry", "--code", "source_stopped", "--json"))
    assert (result["resolved"], result["failing"]) == (len(aside), {})
    assert await observed(settings) == {f"m-{n}" for n in (1, 2, 300, *sent_by_b)}


async def observed(settings: Settings) -> set[str]:
    """Return the ids of the messages with observations."""
    records = await read(settings.kafka, settings.topics.observations)
    return {record.key.rpartition("/")[2] for record in records}


async def test_a_dead_letter_too_large_for_its_topic_is_kept_without_its_value(
    settings: Settings,
) -> None:
    """Processing continues; the record has the body's coordinates, and so do log and health."""
    topic = settings.topics.dead_letters
    large = b"no JSON " + secrets.token_hex(20_000).encode()
    log = Log()
    async with normaliser(settings, log):
        await configure(settings, max_message_bytes="1000")
        await arrive(settings, good(0), large, good(1), large, BAD)
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        sentence = await until_reported(settings, f"too large for {topic}")
        await arrive(settings, good(2))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
    raw = settings.topics.raw("smsmanager")
    assert sentence.startswith(f"{raw}/0/1 and 1 more: ")
    assert any("ERROR" in line and sentence in line for line in log.lines)
    kept = await read(settings.kafka, topic)
    found = {(one.headers["__streams.errors.offset"], one.value or b"") for one in kept}
    assert found == {(b"1", b""), (b"3", b""), (b"4", BAD)}
    assert await observed(settings) == {"m-0", "m-1", "m-2"}
    await configure(settings, max_message_bytes="2097152")
    would = json.loads(await dead_letters(settings, "retry", "--dry-run", "--json"))
    assert would["failing"] == {"not_json": 3}


async def test_an_observation_too_large_for_its_topic_sets_its_body_aside(
    settings: Settings,
) -> None:
    """Other bodies of the round are processed, and a retry publishes its observation."""
    text = secrets.token_hex(20_000)
    large = json.dumps([{**json.loads(good(7))[0], "payload": text}]).encode()
    async with normaliser(settings):
        await configure(settings, settings.topics.observations, max_message_bytes="2000")
        await arrive(settings, *map(good, range(5)), large, *map(good, range(10, 15)))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        await until_reported(settings, f"0/5: the result is too large for {settings.namespace}")
    [letter] = await read(settings.kafka, settings.topics.dead_letters)
    assert (letter.headers["dead-letter-code"], letter.value) == (b"too_large", large)
    assert letter.headers["__streams.errors.offset"] == b"5"
    usual = {f"m-{n}" for n in (*range(5), *range(10, 15))}
    assert await observed(settings) == usual
    await configure(settings, settings.topics.observations, max_message_bytes="2097152")
    done = json.loads(await dead_letters(settings, "retry", "--json"))
    assert (done["resolved"], done["open"]) == (1, 0)
    assert await observed(settings) == usual | {"m-7"}


@pytest.mark.long
async def test_a_topic_that_refuses_dead_letters_stops_the_round(settings: Settings) -> None:
    """Nothing is committed and health is red until the topic accepts them; nothing is lost."""
    topic = settings.topics.dead_letters
    takes = f"Kafka does not accept the records for {topic}"
    # How long a round is attempted before it is repeated.
    async with normaliser(settings.model_copy(update={"transaction_timeout": 5})):
        await arrive(settings, good(0))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        troubles = (
            # Not even a dead letter without its value fits.
            ({"max_message_bytes": "100"}, f"{takes} (MessageSizeTooLargeError), not even"),
            ({"cleanup_policy": "compact"}, takes),  # which refuses records without a key
        )
        for done, (config, words) in enumerate(troubles):
            await configure(settings, **config)
            await _is_blocked(settings, words, [BAD, good(1 + done)])
            await configure(settings, cleanup_policy="delete")
            await _continues(settings)
        kept = await read(settings.kafka, topic)
        await delete(settings)
        await _is_blocked(settings, f"topic {topic} is missing", [BAD, good(3)])
        await topics.apply(settings)
        await _continues(settings)
    kept += await read(settings.kafka, topic)
    assert {letter.headers["__streams.errors.offset"] for letter in kept} == {b"1", b"3", b"5"}
    assert {letter.value for letter in kept} == {BAD}
    assert await observed(settings) == {f"m-{n}" for n in range(4)}


async def _is_blocked(settings: Settings, words: str, bodies: list[bytes]) -> None:
    """Write bodies; health gives the reason and nothing is committed in repeated rounds."""
    before, tries = await position(settings, "smsmanager"), await failed_rounds(settings)
    await arrive(settings, *bodies)
    await until_reported(settings, words)
    while await failed_rounds(settings) < tries + 2:
        assert await health(settings)
    assert await position(settings, "smsmanager") == before


async def _continues(settings: Settings) -> None:
    """Wait until all bodies are processed and health is good again."""
    await caught_up_with(settings.kafka, settings.topics, "normalise")

    async def healthy() -> bool:
        return not await health(settings)

    await until(healthy)


async def test_a_gap_in_a_raw_topic_stops_its_partition_only(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Others continue; health and log name the gap: number, offsets and last time."""
    topic = settings.topics.raw("smsmanager")
    async with normaliser(settings):
        await arrive(settings, *map(good, range(3)))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
    await arrive(settings, *map(good, range(3, 9)))
    await cut(settings, topic, 0, 7)

    one, stop = GroupWorker(NORMALISE, settings, Normaliser), asyncio.Event()
    running = asyncio.create_task(one.run(stop))
    await arrive(settings, good(20), partition=1)
    await arrive(settings, BAD, provider="whapi")
    await until(lambda: _has(settings, "m-20"))
    await until(lambda: _read_all(settings, "whapi"))
    [sentence] = one.problems()
    await until(lambda: _is_stopped({"topic": topic, "partition": "0"}))
    stop.set()
    await running

    assert f"{topic}[0] is to be read from offset 3, but it now starts at 7: " in sentence
    assert "retention deleted 4 unprocessed records, 3 to 6, received before 20" in sentence
    assert "--offsets 0:3-7" in sentence
    errors = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
    assert errors.count(sentence) == 1
    assert await position(settings, "smsmanager") == 3
    assert await observed(settings) == {"m-0", "m-1", "m-2", "m-20"}


async def _has(settings: Settings, message: str) -> bool:
    return message in await observed(settings)


async def _is_stopped(labels: dict[str, str]) -> bool:
    return exposed("normalise").get_sample_value("bluetick_partition_stopped", labels) == 1


async def _read_all(settings: Settings, provider: str) -> bool:
    return await position(settings, provider) == 1


async def dead_letters(settings: Settings, *arguments: str, code: int = 0, **more: str) -> str:
    """Run one of the commands; returns its output."""
    found, output = await run("dead-letters", *arguments, **(environment(settings) | more))
    assert found == code, output
    assert "Traceback" not in output
    return output


async def causes(settings: Settings, meant: Selection | None = None) -> list[tuple[str, int, int]]:
    """Return code, open and resolved dead letters of each cause."""
    groups = grouped(await read_selected(settings, meant or Selection(), lambda *_: None))
    return sorted((group.cause.code, group.open, group.resolved) for group in groups)


async def normalised_by_an_older_code(settings: Settings, *bodies: bytes) -> None:
    """Write bodies and their dead letters, although today's code can normalise the bodies.

    The dead letters are written by hand, as an earlier normaliser would write them.
    """
    topic = settings.topics.raw("smsmanager")
    await arrive(settings, *bodies)
    for offset, body in enumerate(bodies):
        raw = Coordinates(topic, 0, offset)
        letter = DeadLetter(code="bad_value", reason=f"`x` is over {offset}", value=body)
        record = Record(
            settings.topics.dead_letters, 0, None, body, letters.headers(letter, raw, 1, ())
        )
        await write(settings, [record])


async def test_a_retry_publishes_and_resolves(settings: Settings) -> None:
    """Bodies that today's code can normalise are published once and resolved; others stay open."""
    mixed = json.dumps([json.loads(good(7))[0], {"message_id": 5}]).encode()
    await normalised_by_an_older_code(settings, good(1), good(2), mixed, BAD)
    assert await causes(settings) == [("bad_value", 4, 0)]

    would = json.loads(await dead_letters(settings, "retry", "--dry-run", "--json"))
    assert await read(settings.kafka, settings.topics.observations) == []
    assert await causes(settings) == [("bad_value", 4, 0)]
    done = json.loads(await dead_letters(settings, "retry", "--json"))
    again = json.loads(await dead_letters(settings, "retry", "--json"))

    expected = {"bodies": 4, "observations": 3, "resolved": 3, "gone": []}
    failing = {"missing_field": 1, "not_json": 1}
    assert done == {**done, **expected, "failing": failing, "open": 2}
    assert would == {**done, "replay": None, "open": 4}
    assert again == {
        **again,
        "bodies": 2,
        "observations": 0,
        "resolved": 0,
        "failing": failing,
        "open": 2,
    }
    observed = await read(settings.kafka, settings.topics.observations)
    first = [
        json.loads(o.value) for o in observed if json.loads(o.value)["replay"] == done["replay"]
    ]
    assert sorted(o["message_key"] for o in first) == [f"smsmanager/-/m-{n}" for n in (1, 2, 7)]
    shown = await dead_letters(settings, "list")
    assert "2 open, 4 resolved (not shown; --all shows them)" in shown
    [line, _] = (await dead_letters(settings, "list", "--json")).splitlines()
    assert json.loads(line)["reason"] == "`gateway`: field required"
    assert await causes(settings) == [
        ("bad_value", 0, 4),
        ("missing_field", 1, 0),
        ("not_json", 1, 0),
    ]
    assert (
        "resolved by retry-"
        in (await run("tail", "dead-letters", "--until-end", **environment(settings)))[1]
    )


async def test_a_wrong_number_of_partitions_is_reported(settings: Settings) -> None:
    """With a wrong number, only a part of the dead letters would be read."""
    for arguments in (["list"], ["retry"], ["show", "raw.whapi/0/0"], ["export", "nowhere/x"]):
        output = await dead_letters(settings, *arguments, code=1, BLUETICK_PARTITIONS="2")
        assert "has 3 partitions, not the 2 of BLUETICK_PARTITIONS" in output
    elsewhere = f"{settings.namespace}-x"
    output = await dead_letters(settings, "list", code=1, BLUETICK_NAMESPACE=elsewhere)
    assert f"the topic {elsewhere}.raw.smsmanager does not exist" in output


async def test_what_a_page_starts_checks_the_topics_first(settings: Settings) -> None:
    """As the commands do: on other topics a retry or a replay would find nothing, and say so."""
    other = settings.model_copy(update={"partitions": settings.partitions + 1})
    job = Job("1", "retry", "local", None, 0)
    with pytest.raises(Problem) as retried:
        await page_retry.retry(other, [], job, dry=True)
    with pytest.raises(Problem) as planned:
        await page_replay.plan(other, page_replay.wanted({"from": "oldest"}, 0), job)
    assert {retried.value.code, planned.value.code} == {"partition_mismatch"}
    await normalised_by_an_older_code(settings, good(1), good(2))
    await page_retry.retry(settings, [], job, dry=True)
    assert (job.words, job.done, job.total) == ("bodies", 0, 0)


async def test_reading_dead_letters_shows_its_progress(settings: Settings) -> None:
    """From nothing to all records, once per batch."""
    await normalised_by_an_older_code(settings, good(1), good(2), good(3))
    shown: list[tuple[int, int]] = []
    await read_selected(settings, Selection(), lambda *at: shown.append(at))
    assert (shown[0], shown[-1]) == ((0, 3), (3, 3))
    assert shown == sorted(shown)


async def test_a_killed_retry_can_be_repeated(settings: Settings) -> None:
    """After SIGKILL between observations and markers all are open; another retry resolves them."""
    await normalised_by_an_older_code(settings, good(1), good(2))
    killed = {"BLUETICK_FAILPOINT": "retry.before_markers=kill"}
    await dead_letters(settings, "retry", code=-9, **killed)
    assert len(await read(settings.kafka, settings.topics.observations)) == 2
    assert await causes(settings) == [("bad_value", 2, 0)]

    done = json.loads(await dead_letters(settings, "retry", "--json"))

    assert (done["resolved"], done["open"]) == (2, 0)
    assert await causes(settings) == [("bad_value", 0, 2)]


async def test_a_deleted_body_is_reported_and_the_others_are_retried(settings: Settings) -> None:
    """Exit code 1 and a sentence for each deleted body; the others are retried."""
    await normalised_by_an_older_code(settings, *map(good, range(5)))
    topic = settings.topics.raw("smsmanager")
    await cut(settings, topic, 0, 2)

    output = await dead_letters(settings, "retry", code=1)

    for offset in range(2):
        assert f"{topic}/0/{offset} is gone: retention deleted the body" in output
    assert "3 dead letters resolved" in output
    assert await causes(settings) == [("bad_value", 2, 3)]


async def test_filters_choose_what_is_retried(settings: Settings) -> None:
    """By provider, code, time and number; other bodies are not touched."""
    await normalised_by_an_older_code(settings, *map(good, range(4)))
    hour = round(time.time() * 1000) - 3_600_000
    for nothing in (Selection("whapi"), Selection(code="not_json"), Selection(until=hour)):
        assert await causes(settings, nothing) == []
    done = json.loads(await dead_letters(settings, "retry", "--json", "--to", "-1h"))
    assert done["bodies"] == 0
    chosen = ["--provider", "smsmanager", "--code", "bad_value", "--from", "-1h", "--limit", "3"]
    done = json.loads(await dead_letters(settings, "retry", "--json", *chosen))
    assert (done["bodies"], done["resolved"], done["open"]) == (3, 3, 1)


async def test_a_dead_letter_is_shown_and_exported(settings: Settings, tmp_path: Path) -> None:
    """Masked for a person, whole with --json and in an export."""
    secret = b'{"message_id": "m-1", "to": "420777123456", "text": "Dear Ann", "result": 5} {'
    await arrive(settings, secret, good(1))
    async with normaliser(settings):
        await caught_up_with(settings.kafka, settings.topics, "normalise")

    shown = await dead_letters(settings, "show", "raw.smsmanager/0/0")
    assert await dead_letters(settings, "show", "dead-letters[0]@0") == shown
    for word in ("not_json", f"{settings.topics.raw('smsmanager')}/0/0", "open", "the whole body"):
        assert word in shown
    assert "Ann" not in shown
    assert "777123" not in shown
    whole = json.loads(await dead_letters(settings, "show", "--json", "raw.smsmanager/0/0"))
    assert b64decode(whole["value_base64"]) == secret
    other = await dead_letters(settings, "show", "raw.smsmanager/0/1")
    assert "today's code produces 1 observations, 0 dead letters" in other

    exported = await dead_letters(settings, "export", str(tmp_path))
    file = tmp_path / f"{settings.topics.dead_letters}.jsonl"
    assert exported == f"1 dead letters written to {file}\n"
    [line] = map(json.loads, file.read_text().splitlines())
    assert b64decode(line["value_base64"]) == secret
    assert line["sha256"] == hashlib.sha256(secret).hexdigest()
    assert ["dead-letter-code", "not_json"] in line["headers"]
    assert file.stat().st_mode & 0o077 == 0
    assert "exists already" in await dead_letters(settings, "export", str(file), code=1)


def environment(settings: Settings) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "data", "normalise_health_port")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}
