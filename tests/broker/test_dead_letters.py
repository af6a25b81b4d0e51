"""Dead letters on a real Kafka: a flood of them, a topic that takes none, a log that was cut."""

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
from cli.dead_letters.reader import standing
from cli.processes import Running, Service, running
from cli.simulator import http_client
from deploy import topics
from processors.dead_letters import record as letters
from processors.normalising.normaliser import Normaliser
from processors.runtime import metrics
from processors.runtime.group_worker import GroupWorker
from providers.contract import DeadLetter
from schemas.coordinates import Coordinates
from schemas.processors import NORMALISE
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up_with, committed, read
from tests.broker.running_ingest import until
from tests.e2e.commands import run

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
    """What a service said."""

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
        yield one


async def health(settings: Settings) -> list[str]:
    """What the normaliser says is wrong; nothing if it is ready."""
    url = f"http://127.0.0.1:{settings.health_port('normalise')}"
    told = json.loads((await http_client.get(url, "/health/ready")).body)
    assert told["ready"] == (not told["problems"])
    return [str(problem) for problem in told["problems"]]


async def until_told(settings: Settings, words: str) -> str:
    """Wait until health says so; the sentence."""
    async with asyncio.timeout(SECONDS):
        while True:
            for problem in await health(settings):
                if words in problem:
                    return problem
            await asyncio.sleep(0.05)


async def configure(settings: Settings, topic: str | None = None, **config: str) -> None:
    """Give a topic, by default that of dead letters, these settings, and no others."""
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
    """How far the normaliser is on the first partition."""
    group, topic = settings.topics.group("normalise"), settings.topics.raw(provider)
    return max(0, (await committed(settings.kafka, group, topic))[0])


def by(source: str) -> list[tuple[str, bytes]]:
    """The header that says which source a body came in by."""
    return [("ce_source", f"/webhooks/{source}".encode())]


async def test_a_flood_stops_its_source_and_no_other(settings: Settings) -> None:
    """Its bodies are kept whole; others of the provider, and of its partition, go on."""
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
        sentence = await until_told(settings, "source tenant-b of smsmanager is stopped")
        await sent("tenant-a", *[BAD] * 20, good(2))
        numbers = await http_client.get(started.service.url, "/metrics")
        live = await http_client.get(started.service.url, "/health/live")
        # Ten of a hundred are tried, and then it goes on by itself.
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
    # Each body is an observation, or kept whole.
    tried = [good(n) for n in sent_by_b if f"m-{n}" in done]
    assert sorted([*(one.value for one in aside), *tried]) == sorted(map(good, sent_by_b))

    result = json.loads(await dead_letters(settings, "retry", "--code", "source_stopped", "--json"))
    assert (result["resolved"], result["failing"]) == (len(aside), {})
    assert await observed(settings) == {f"m-{n}" for n in (1, 2, 300, *sent_by_b)}


async def observed(settings: Settings) -> set[str]:
    """The messages that there are observations of."""
    records = await read(settings.kafka, settings.topics.observations)
    return {record.key.rpartition("/")[2] for record in records}


async def test_a_dead_letter_too_large_for_its_topic_is_kept_without_its_value(
    settings: Settings,
) -> None:
    """All goes on; the record says where the body lies, and an ERROR and health say it too."""
    topic = settings.topics.dead_letters
    large = b"no JSON " + secrets.token_hex(20_000).encode()
    log = Log()
    async with normaliser(settings, log):
        await configure(settings, max_message_bytes="1000")
        await arrive(settings, good(0), large, good(1), large, BAD)
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        sentence = await until_told(settings, f"too large for {topic}")
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
    """Its neighbours of the same round go on, and a retry brings it back."""
    text = secrets.token_hex(20_000)
    large = json.dumps([{**json.loads(good(7))[0], "payload": text}]).encode()
    async with normaliser(settings):
        await configure(settings, settings.topics.observations, max_message_bytes="2000")
        await arrive(settings, *map(good, range(5)), large, *map(good, range(10, 15)))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        await until_told(settings, f"0/5: what comes of it is too large for {settings.namespace}")
    [letter] = await read(settings.kafka, settings.topics.dead_letters)
    assert (letter.headers["dead-letter-code"], letter.value) == (b"too_large", large)
    assert letter.headers["__streams.errors.offset"] == b"5"
    usual = {f"m-{n}" for n in (*range(5), *range(10, 15))}
    assert await observed(settings) == usual
    await configure(settings, settings.topics.observations, max_message_bytes="2097152")
    done = json.loads(await dead_letters(settings, "retry", "--json"))
    assert (done["resolved"], done["open"]) == (1, 0)
    assert await observed(settings) == usual | {"m-7"}


async def test_a_topic_that_takes_no_dead_letters_stops_the_round(settings: Settings) -> None:
    """Nothing is committed and health is red until the topic takes them; then nothing is lost."""
    topic = settings.topics.dead_letters
    takes = f"Kafka does not take what goes to {topic}"
    log = Log()
    # How long a round is tried before it is repeated.
    async with normaliser(settings.model_copy(update={"transaction_timeout": 5}), log):
        await arrive(settings, good(0))
        await caught_up_with(settings.kafka, settings.topics, "normalise")
        troubles = (
            # Not even a dead letter without its value fits.
            ({"max_message_bytes": "100"}, f"{takes} (MessageSizeTooLargeError), not even"),
            ({"cleanup_policy": "compact"}, takes),  # where records without a key are refused
        )
        for done, (config, words) in enumerate(troubles):
            await configure(settings, **config)
            await _stands_still(settings, log, words, [BAD, good(1 + done)])
            await configure(settings, cleanup_policy="delete")
            await _goes_on(settings)
        kept = await read(settings.kafka, topic)
        await delete(settings)
        await _stands_still(settings, log, f"topic {topic} is missing", [BAD, good(3)])
        await topics.apply(settings)
        await _goes_on(settings)
    kept += await read(settings.kafka, topic)
    assert {letter.headers["__streams.errors.offset"] for letter in kept} == {b"1", b"3", b"5"}
    assert {letter.value for letter in kept} == {BAD}
    assert await observed(settings) == {f"m-{n}" for n in range(4)}


async def _stands_still(settings: Settings, log: Log, words: str, bodies: list[bytes]) -> None:
    """Bodies arrive, and health says why they are not taken, through the rounds tried meanwhile."""
    before, tries = await position(settings, "smsmanager"), log.count("repeating the round")
    await arrive(settings, *bodies)
    await until_told(settings, words)
    while log.count("repeating the round") < tries + 2:
        assert await health(settings)
    assert await position(settings, "smsmanager") == before


async def _goes_on(settings: Settings) -> None:
    """All is taken, and health is well again."""
    await caught_up_with(settings.kafka, settings.topics, "normalise")

    async def well() -> bool:
        return not await health(settings)

    await until(well)


async def test_a_raw_log_cut_before_it_was_read_stops_its_partition_alone(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on; health and the log name the gap: how many, which, until when."""
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
    labels = {"topic": topic, "partition": "0"}
    assert metrics.registry.get_sample_value("bluetick_partition_stopped", labels) == 1
    stop.set()
    await running

    assert f"{topic}[0] was to be read from offset 3, but now starts at 7: " in sentence
    assert "retention deleted 4 records, 3 to 6, received before 20" in sentence
    assert "--offsets 0:3-7" in sentence
    errors = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
    assert errors.count(sentence) == 1
    assert await position(settings, "smsmanager") == 3
    assert await observed(settings) == {"m-0", "m-1", "m-2", "m-20"}


async def _has(settings: Settings, message: str) -> bool:
    return message in await observed(settings)


async def _read_all(settings: Settings, provider: str) -> bool:
    return await position(settings, provider) == 1


async def dead_letters(settings: Settings, *arguments: str, code: int = 0, **more: str) -> str:
    """Run one of the commands; what it printed."""
    found, output = await run("dead-letters", *arguments, **(environment(settings) | more))
    assert found == code, output
    assert "Traceback" not in output
    return output


async def causes(settings: Settings, meant: Selection | None = None) -> list[tuple[str, int, int]]:
    """How dead letters stand: code, open, resolved of each cause."""
    groups = grouped(await standing(settings, meant or Selection()))
    return sorted((group.cause.code, group.open, group.resolved) for group in groups)


async def normalised_by_an_older_code(settings: Settings, *bodies: bytes) -> None:
    """The first bodies of all; they ended as dead letters, though today's code understands them.

    They were written by hand as an earlier normaliser would: only the code's age is pretended.
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


async def test_a_retry_publishes_and_settles(settings: Settings) -> None:
    """What today's code understands is published once and hidden; what it does not stays open."""
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


async def test_another_number_of_partitions_is_told(settings: Settings) -> None:
    """With the wrong one a part of the dead letters would pass for all of them."""
    for arguments in (["list"], ["retry"], ["show", "raw.whapi/0/0"], ["export", "nowhere/x"]):
        output = await dead_letters(settings, *arguments, code=1, BLUETICK_PARTITIONS="2")
        assert "has 3 partitions, not the 2 of BLUETICK_PARTITIONS" in output
    elsewhere = f"{settings.namespace}-x"
    output = await dead_letters(settings, "list", code=1, BLUETICK_NAMESPACE=elsewhere)
    assert f"the topic {elsewhere}.raw.smsmanager does not exist" in output


async def test_a_killed_retry_is_done_again(settings: Settings) -> None:
    """SIGKILL after the observations and before the markers: all is open, and settled next time."""
    await normalised_by_an_older_code(settings, good(1), good(2))
    killed = {"BLUETICK_FAILPOINT": "retry.before_markers=kill"}
    await dead_letters(settings, "retry", code=-9, **killed)
    assert len(await read(settings.kafka, settings.topics.observations)) == 2
    assert await causes(settings) == [("bad_value", 2, 0)]

    done = json.loads(await dead_letters(settings, "retry", "--json"))

    assert (done["resolved"], done["open"]) == (2, 0)
    assert await causes(settings) == [("bad_value", 0, 2)]


async def test_a_body_that_is_gone_is_told_and_the_others_go_on(settings: Settings) -> None:
    """Exit code 1, a sentence for each, and the rest is retried."""
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


async def test_a_dead_letter_is_shown_and_taken_along(settings: Settings, tmp_path: Path) -> None:
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
    assert "today's code makes of it 1 observations, 0 dead letters" in other

    said = await dead_letters(settings, "export", str(tmp_path))
    file = tmp_path / f"{settings.topics.dead_letters}.jsonl"
    assert said == f"1 dead letters written to {file}\n"
    [line] = map(json.loads, file.read_text().splitlines())
    assert b64decode(line["value_base64"]) == secret
    assert line["sha256"] == hashlib.sha256(secret).hexdigest()
    assert ["dead-letter-code", "not_json"] in line["headers"]
    assert file.stat().st_mode & 0o077 == 0
    assert "is there already" in await dead_letters(settings, "export", str(file), code=1)


def environment(settings: Settings) -> dict[str, str]:
    names = ("kafka", "namespace", "partitions", "data", "normalise_health_port")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}
