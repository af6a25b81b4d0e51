"""The smallest real operation of each command, to try the rights of its user."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cli import archive
from cli.dead_letters.causes import Selection
from cli.dead_letters.reader import read_selected
from cli.forget import forget
from cli.options import Range
from cli.quality import show
from cli.replay.range_options import resolve, wanted
from cli.tail import follow
from deploy import topics
from ingest.publishing.publisher import Publisher
from processors.dead_letters import record as letters
from processors.import_processor import member
from processors.normalising.accounts import UNCORRECTED
from processors.replay import dead_letter_retry, report, run
from processors.replay import plan as planning
from processors.replay.progress import Replay
from processors.replay.range_syntax import Only
from processors.runtime import consumer_groups
from processors.runtime.group_worker import GroupWorker
from processors.runtime.record_batches import UnsentError
from processors.tracking.drop_states import drop_states
from providers.contract import DeadLetter
from schemas.codec import encode
from schemas.coordinates import Coordinates
from schemas.processor_list import MEASURE, NORMALISE, TRACK, Processor
from schemas.rights import Right, rights
from schemas.webhook import RawWebhook, to_headers
from service.errors import Problem
from service.kafka.clock import KafkaTime
from service.kafka.failures import right_missing
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.unit.messages import KEY, Folded, inbound, seen

NOW = round(time.time() * 1000)
SECONDS = 30
GOOD = b'[{"message_id":"m","gateway":"sms","timestamp":%d,"result":"sent","type":"outgoing"}]'


def webhook(provider: str, body: bytes = b"[]") -> RawWebhook:
    return RawWebhook(id="1", source=provider, provider=provider, body=body, received_at=NOW)


def raw(settings: Settings, body: bytes) -> Record:
    hook = webhook("smsmanager", body)
    return Record(settings.topics.raw(hook.provider), 0, None, hook.body, to_headers(hook))


async def fill(settings: Settings) -> None:
    """Make the topics, and records that a restarted tracker and normalise have to read."""
    await topics.apply(settings)
    names = settings.topics
    # Of another message, and newer than every state: a tracker that starts reads them.
    later_on = round(time.time() * 1000) + 1_800_000
    of = {"message_key": "smsmanager/-/m2", "message_id": "m2"}
    later = [
        Record(
            topic, 0, b"smsmanager/-/m2", encode(out.record), [("ce_id", out.id.encode())], later_on
        )
        for out in Folded(seen("sent", NOW, **of), inbound(NOW + 1, **of)).outputs
        if (topic := f"{settings.namespace}.{out.topic}")
    ]
    body = GOOD % (NOW // 1000)
    letter = DeadLetter(code="bad_value", reason="`x` is over 1", value=body)
    headers = letters.headers(letter, Coordinates(names.raw("smsmanager"), 0, 0), 1, ())
    later.append(Record(names.dead_letters, 0, None, body, headers, later_on))
    observed = [encode(seen("sent", NOW)), encode(inbound(NOW + 1)), b"not an observation"]
    await write(
        settings,
        [
            raw(settings, body),
            raw(settings, b"not JSON"),
            *(Record(names.observations, 0, KEY.encode(), value) for value in observed),
            Record(names.messages, 0, b"smsmanager/-/gone", None),
            *later,
        ],
    )


async def ingest(settings: Settings, _: Path) -> None:
    publisher = Publisher(settings)
    await publisher.start()
    try:
        for provider in settings.topics.providers:
            await publisher.publish(webhook(provider))
    finally:
        await publisher.stop()


def processing(one: Processor) -> Callable[[Settings, Path], Awaitable[None]]:
    async def attempt(settings: Settings, _: Path) -> None:
        await topics.require(settings, settings.topics.needed(one.name))
        if one is TRACK:  # what its watermark reads in the background
            await consumer_groups.committed(settings, settings.topics.group(NORMALISE.name))
        worker, stop = GroupWorker(one, settings, member(one)), asyncio.Event()
        working = asyncio.create_task(worker.run(stop))
        try:
            async with asyncio.timeout(SECONDS):
                while not working.done() and not await _idle(settings, one):
                    if refused := [one for one in worker.problems() if "denies" in one]:
                        raise AssertionError(refused[0])
                    await asyncio.sleep(0.05)
        finally:
            stop.set()
            await working

    return attempt


async def _idle(settings: Settings, one: Processor) -> bool:
    """Whether a processor has committed all that it has to read."""
    async with consumer_groups.watching(settings) as watch:
        ends = await watch.ends(settings.topics.inputs(one.name))
        return not await watch.behind(settings.topics.group(one.name), ends)


async def replay(settings: Settings, _: Path) -> None:
    await topics.require(settings, settings.topics.required)
    spec, _left = await resolve(settings, wanted(Range(since="oldest")))
    of_code = spec._replace(only=Only("code", "bad_value"))
    await planning.plan(settings, of_code, 0, lambda *_: None)
    limits = run.Limits(rate=0, backlog=20_000)
    one = Replay("r", NOW, spec, {})
    assert await run.run(settings, one, limits, lambda _: None, asyncio.Event())
    await report.report(settings, one, 0)


async def list_dead_letters(settings: Settings, _: Path) -> None:
    assert await read_selected(settings, Selection(), lambda *_: None)


async def retry(settings: Settings, _: Path) -> None:
    kept = [one.entry.letter for one in await read_selected(settings, Selection(), lambda *_: None)]
    letters = {one.raw: {one} for one in kept if one.raw.topic in settings.topics.raw_topics}
    await dead_letter_retry.retry(settings, letters, UNCORRECTED, "retry", lambda _: None)


async def check(settings: Settings, _: Path) -> None:
    assert await topics.check(settings) == []


async def tail(settings: Settings, _: Path) -> None:
    for topic in settings.topics.required:
        async for _record in follow(settings, topic, from_start=True, until_end=True):
            pass


async def quality(settings: Settings, _: Path) -> None:
    await show.read(settings)


async def archived(settings: Settings, directory: Path) -> None:
    await topics.require(settings, settings.topics.required)
    asked = archive.Wanted(list(settings.topics.providers), None)
    await asyncio.to_thread(archive.run, settings, str(directory), asked)


async def forgetting(settings: Settings, _: Path) -> None:
    key = "smsmanager/-/gone"
    await asyncio.to_thread(
        forget.forget, settings, KEY, archive=None, dry_run=True, json=True, yes=True
    )
    await drop_states(settings, {0: [key]})


async def doctor(settings: Settings, _: Path) -> None:
    names = settings.topics
    for topic in (*names.raw_topics, names.observations, names.messages):
        async for _record in follow(settings, topic, from_start=True, until_end=True):
            pass
    await topics.check(settings)
    for group in names.groups:
        await consumer_groups.committed(settings, group)


ATTEMPTS = {
    "ingest": ingest,
    NORMALISE.name: processing(NORMALISE),
    TRACK.name: processing(TRACK),
    MEASURE.name: processing(MEASURE),
    "quality": quality,
    "replay": replay,
    "dead-letters list": list_dead_letters,
    "dead-letters retry": retry,
    "topics check": check,
    "tail": tail,
    "archive": archived,
    "doctor": doctor,
    "forget": forgetting,
}


async def more_work(settings: Settings, command: str, number: int) -> None:
    """Write what the command's next attempt has to process, if an earlier one took all."""
    if command == MEASURE.name:
        key = f"smsmanager/-/more-{number}"
        observation = seen("sent", NOW, message_key=key, message_id=f"more-{number}")
        state = encode(Folded(observation).states[key])
        await write(settings, [Record(settings.topics.messages, 0, key.encode(), state)])


async def attempt(command: str, settings: Settings, directory: Path) -> str:
    """Run the smallest operation of a command; return Kafka's refusal as a sentence, or ""."""
    try:
        if Right("topic", settings.topics.clocks, "Write") in rights(command, settings.topics):
            time_ = KafkaTime()
            await time_.compare(settings)
            assert time_.compared, time_.known()
        await ATTEMPTS[command](settings, directory)
    except UnsentError as unsent:
        return str(right_missing(settings, unsent))
    except (Problem, AssertionError) as refused:
        return str(refused)
    return ""
