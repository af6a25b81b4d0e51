"""Rebuilding a namespace next to the one in use, with the real command line."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cli.processes import Service, running
from cli.simulator.simulate import simulate
from deploy import consumer_groups, topics
from deploy.local_kafka.broker import free_port
from processors.runtime.record_batches import Outbox
from schemas.codec import encode
from schemas.topics import partition_of
from schemas.webhook import to_headers
from service.kafka import clients
from service.settings import Settings
from tests.broker.reading import caught_up, read
from tests.e2e.commands import command, is_stopped, left_behind, run
from tests.unit.messages import KEY, Folded, seen

DAY = 24 * 3_600_000
TIMERS = (b"stalled", b"resumed", b"forgotten")


@pytest.fixture
async def target(settings: Settings) -> AsyncIterator[Settings]:
    """Return the settings of the new namespace, which is dropped at the end."""
    given = settings.of(f"{settings.namespace}-b").model_copy(
        update={"raw_namespace": settings.namespace}
    )
    yield given
    await topics.drop(given)
    await consumer_groups.delete(given, given.topics.groups)


@pytest.mark.long
async def test_a_rebuild_equals_its_source(settings: Settings, target: Settings) -> None:
    """Every status, event and state of the source is there again, under the same ids."""
    await receive(settings, 150, days_ago=3)
    async with services(settings):
        await caught_up(settings.kafka, settings.topics)

    code, output = await rebuild(settings, target, "--until-present")

    assert code == 0, output
    assert f"caught up: {target.namespace} is where {settings.namespace} is" in output
    code, output = await run("diff", settings.namespace, target.namespace, **named(settings))
    assert code == 0, output
    for name in ("statuses", "events", "inbound"):
        was, is_ = [await ids(s, name) for s in (settings, target)]
        assert was == is_, name
        assert was, name
    await _track_anew(settings)
    await _switch(settings, target)


async def _track_anew(settings: Settings) -> None:
    """`--from-observations` leaves normalising to the source, which has to keep its normaliser."""
    name = settings.namespace
    again = settings.of(f"{name}-c").model_copy(update={"observations_namespace": name})
    code, output = await rebuild(settings, again, "--from-observations", "--until-present")
    assert code == 0, output
    code, output = await run("diff", name, again.namespace, **named(settings))
    assert code == 0, output
    assert f"{again.namespace}.observations" not in await topics.partitions(settings)
    code, output = await run(
        "normalise",
        **(named(settings) | {"BLUETICK_NAMESPACE": again.namespace}),
        BLUETICK_OBSERVATIONS_NAMESPACE=name,
    )
    assert (code, "needs no normalise of its own" in output) == (1, True)
    code, output = await drop(settings, name, "--keep-inputs", "--confirm", name)
    assert code == 0, output
    left = await topics.partitions(settings)
    assert {*settings.topics.raw_topics, settings.topics.observations} <= left.keys()
    assert settings.topics.statuses not in left
    assert settings.topics.group("normalise") in await consumer_groups.names(settings)
    code, output = await drop(settings, again.namespace, "--confirm", again.namespace)
    assert code == 0, output


async def _switch(settings: Settings, target: Settings) -> None:
    """The services continue where the rebuild ended, and the rest of the source can be dropped."""
    known = len(await ids(target, "statuses"))
    await receive(settings, 20, days_ago=0)
    async with services(target):
        await caught_up(target.kafka, target.topics)
        name = target.namespace
        code, output = await drop(settings, name, "--confirm", name)
        assert (code, "is in use" in output) == (1, True), output
    assert len(await ids(target, "statuses")) > known
    name = settings.namespace
    code, output = await drop(settings, name, "--confirm", name)
    readers = f"other namespaces read {name} ({settings.topics.raw('smsmanager')}"
    assert (code, readers in output) == (1, True)
    code, output = await drop(settings, name, "--keep-inputs", "--confirm", "other")
    assert (code, "nothing was deleted" in output) == (1, True), output
    code, output = await drop(settings, name, "--keep-inputs", "--confirm", name)
    assert code == 0, output
    assert not settings.of(name).stores.exists()
    left = await topics.partitions(settings)
    assert {topic for topic in settings.topics.all if topic in left} == {
        *settings.topics.raw_topics,
        settings.topics.clocks,
    }
    assert {*target.topics.all} <= left.keys()
    assert not {*settings.topics.groups} & {*await consumer_groups.names(settings)}


@pytest.mark.long
async def test_killed_in_the_middle_it_goes_on(settings: Settings, target: Settings) -> None:
    """SIGKILL in a transaction, `--resume`, webhooks meanwhile: nothing is lost or doubled."""
    await receive(settings, 100, days_ago=2)
    async with services(settings):
        arguments = ("rebuild", "--into", target.namespace)
        stopped = named(settings) | {"BLUETICK_FAILPOINT": "track.after_sends=stop"}
        async with command(*arguments, **stopped) as first:
            await first.until("rebuilding")
            await _stands_still(target.namespace)
            os.kill(_only(target.namespace, " rebuild "), signal.SIGKILL)
            assert await first.ended() == -signal.SIGKILL
        code, output = await run(*arguments, **named(settings))
        assert (code, "add --resume" in output) == (1, True), output
        async with command(*arguments, "--resume", **named(settings)) as again:
            await receive(settings, 100, days_ago=1)
            await again.until("Ctrl-C")
            await receive(settings, 30, days_ago=0)
            await caught_up(settings.kafka, settings.topics)
            await caught_up(settings.kafka, target.topics)
            code, output = await run(
                "diff", settings.namespace, target.namespace, **named(settings)
            )
            assert code == 0, output
            again.interrupt()
            assert await again.ended() == 0, again.output
    assert "resume with: " in again.output
    was, is_ = [await ids(s, "statuses") for s in (settings, target)]
    assert was == is_
    assert max(is_.values()) == 1
    assert left_behind(target.namespace) == {}


async def test_diff_tells_the_reason(settings: Settings, target: Settings) -> None:
    """What only one side has, and which fields differ; numbers are masked; exit code 1."""
    await topics.apply(target)
    to = {"recipient": "420777123456"}
    one, other, third = (KEY[:-1] + last for last in "123")
    sent = {key: seen("sent", 1000, message_key=key, **to) for key in (one, other, third)}
    was = [sent[one], sent[other]]
    is_ = [sent[one], sent[third], seen("delivered", 2000, message_key=one, **to)]
    await _hold(settings, Folded(*was))
    await _hold(target, Folded(*is_))

    code, output = await run("diff", settings.namespace, target.namespace, **named(settings))

    assert code == 1
    assert f"different  {one}: status: sent → delivered; attempts.sms.facts: + delivered" in output
    assert f"only in {settings.namespace}  {other}" in output
    assert f"only in {target.namespace}  {third}" in output
    assert "420777123456" not in output
    arguments = ("diff", settings.namespace, target.namespace, "--json")
    code, output = await run(*arguments, "--since", "1970-01-01T00:00:02Z", **named(settings))
    assert (code, '"agrees":true' in output) == (0, True)
    code, output = await run(*arguments, "--since", "yesterday", **named(settings))
    assert (code, "is not a time" in output) == (1, True)


@pytest.mark.long
async def test_refusals(settings: Settings, target: Settings) -> None:
    """Each is one sentence, and nothing is made."""
    namespace, into = settings.namespace, target.namespace
    for arguments, environment, sentence in [
        (["--into", "a b"], {}, "'a b' is not a valid namespace"),
        (["--into", namespace], {}, "is the namespace in use"),
        (["--into", into], {"BLUETICK_NAMESPACE": f"{namespace}-x"}, "to rebuild; the namespaces "),
        (["--into", into], {"BLUETICK_PARTITIONS": "2"}, "has 3 partitions, not the 2"),
        (["--into", into, "--resume"], {}, "leave out --resume"),
    ]:
        code, output = await run("rebuild", *arguments, **(named(settings) | environment))
        last = output.rstrip().splitlines()[-1]
        assert (code, last.startswith("bluetick: "), sentence in last) == (1, True, True), output
    assert not await _topics_of(into, settings)
    await receive(settings, 5, days_ago=1)
    await _cut(settings)
    code, output = await rebuild(settings, target)
    place = f"{settings.topics.raw('whapi')}[0] 0 to 0"
    assert (code, f"deleted the first bodies ({place})" in output) == (1, True), output
    assert not await _topics_of(into, settings)
    # Dead before anything was committed: the mark of a rebuild is there all the same.
    accepting = ("rebuild", "--into", into, "--accept-gap")
    failing = {"BLUETICK_FAILPOINT": "normalise.before_commit=kill"}
    code, output = await run(*accepting, **(named(settings) | failing))
    assert (code, "; 1 older records are gone" in output) == (1, True), output
    assert "bluetick: normalise ended: exit code -9" in output
    code, output = await rebuild(settings, target, "--resume", "--until-present")
    assert code == 0, output
    await topics.drop(target)
    await consumer_groups.delete(target, target.topics.groups)
    await topics.apply(target)
    exists = f"exists (topics: {len(await _topics_of(into, settings))},"
    for option, sentence in [([], exists), (["--resume"], "is not a rebuild from")]:
        code, output = await run("rebuild", "--into", into, *option, **named(settings))
        assert (code, sentence in output) == (1, True), output


async def _topics_of(namespace: str, settings: Settings) -> list[str]:
    return [name for name in await topics.partitions(settings) if name.startswith(namespace)]


def named(settings: Settings) -> dict[str, str]:
    """The environment of a command."""
    names = ("kafka", "namespace", "partitions", "data", "session_timeout")
    return {f"BLUETICK_{name.upper()}": str(getattr(settings, name)) for name in names}


async def rebuild(settings: Settings, target: Settings, *options: str) -> tuple[int, str]:
    return await run("rebuild", "--into", target.namespace, *options, **named(settings))


async def drop(settings: Settings, *arguments: str) -> tuple[int, str]:
    return await run("namespace", "drop", *arguments, **named(settings))


async def receive(settings: Settings, messages: int, *, days_ago: int) -> None:
    """Put simulated bodies on the raw topics, received one after the other since then."""
    began = round(time.time() * 1000) - days_ago * DAY - 3_600_000
    simulation = simulate(
        messages=messages, base_time_ms=began, seed=days_ago, duplicates=0.2, malformed=0.02
    )
    producer = clients.producer(settings)
    await producer.start()
    outbox = Outbox(producer)
    for number, post in enumerate(simulation.posts):
        at = began + 10 * number
        webhook = post.received(at, f"{number}")
        outbox.add(
            settings.topics.raw(post.source),
            number % settings.partitions,
            key=None,
            value=post.body,
            timestamp=at,
            headers=to_headers(webhook),
        )
    await outbox.send()
    await producer.stop()


@asynccontextmanager
async def services(settings: Settings) -> AsyncIterator[None]:
    """The plain services at work on a namespace."""
    given = settings.model_copy(
        update={"normalise_health_port": free_port(0), "track_health_port": free_port(0)}
    )
    both = [
        Service("normalise", given.health_port("normalise")),
        Service("track", given.health_port("track")),
    ]
    async with running(given, both, lambda _, __: None):
        yield


async def ids(settings: Settings, name: str) -> Counter[tuple[bytes, bytes]]:
    """The records of a derived topic by id and type, timer events apart."""
    records = await read(settings.kafka, f"{settings.namespace}.{name}")
    kinds = ((r.headers["ce_id"], r.headers["ce_type"]) for r in records)
    return Counter(one for one in kinds if not one[1].endswith(TIMERS))


async def _cut(settings: Settings) -> None:
    """Delete the first body of a partition, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    place = TopicPartition(settings.topics.raw("whapi"), 0)
    await admin.delete_records({place: RecordsToDelete(1)})
    await admin.close()


async def _hold(settings: Settings, folded: Folded) -> None:
    """Put states on `messages`, written an hour ago: `diff` does not read them again."""
    producer = clients.producer(settings)
    await producer.start()
    outbox = Outbox(producer)
    for key, state in folded.states.items():
        outbox.add(
            settings.topics.messages,
            partition_of(key, settings.partitions),
            key=key.encode(),
            value=encode(state),
            timestamp=round(time.time() * 1000) - 3_600_000,
        )
    await outbox.send()
    await producer.stop()


async def _stands_still(mark: str) -> None:
    """Wait until the tracker has stopped itself."""
    async with asyncio.timeout(60):
        while True:
            for pid, line in left_behind(mark).items():
                if line.endswith(" track") and is_stopped(pid):
                    return
            await asyncio.sleep(0.05)


def _only(mark: str, word: str) -> int:
    [pid] = [pid for pid, line in left_behind(mark).items() if word in line]
    return pid
