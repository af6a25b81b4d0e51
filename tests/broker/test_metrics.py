"""The metrics of all services under traffic: what each exposes, and the sums that hold."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from cli.processes import Running, Service, running
from cli.up import examples
from deploy.local_kafka.broker import free_port
from processors.runtime.alarms import Alarms
from processors.runtime.group_worker import GroupWorker, Member, Poll, Polled
from processors.tracking import timers, tracker  # noqa: F401 - it makes the metrics of track
from processors.tracking.partition_task import patience_of
from schemas.codec import decode_event, decode_state, decode_status
from schemas.processor_list import PROCESSORS, TRACK
from schemas.records import MessageState
from service.errors import Problem
from service.metrics.family import Family
from service.metrics.registry import exposed
from service.metrics.table import INGEST, families
from service.settings import Settings
from service.version import __version__
from service.wall_clock import now_ms
from tests.broker.producing import Record, write
from tests.broker.reading import caught_up, read
from tests.broker.running_ingest import until
from tests.metrics_page import Page

TIMES = 2  # each sample is sent twice: the second time all of it is known
MALFORMED = 3


async def test_the_sums_hold_over_all_services(settings: Settings, tmp_path: Path) -> None:
    """Received, items, observations, outcomes, lag and stalled messages, also after a restore.

    The traffic has duplicates, bodies that are no JSON, and requests that are refused.
    """
    given: dict[str, Any] = {
        "ingest_metrics_port": free_port(0),
        "max_body": 100_000,
        "timer_grace": 0.0,
        "stalled_sent": 0.5,
    }
    settings = settings.model_copy(update=given)
    async with (
        _running(settings, *ports(settings)),
        httpx.AsyncClient(timeout=60) as client,
    ):
        for name in ports(settings):
            page = await _page(client, settings, name)
            _check_families(page, families(name))
            assert page.sum("bluetick_build_info", service=name, version=__version__) == 1
        samples = examples.load()
        posted = await _post(client, settings.port, samples)
        await caught_up(settings.kafka, settings.topics)
        await until(lambda: _at_rest(client, settings))
        found = {name: await _page(client, settings, name) for name in ports(settings)}
        _check_ingest(found["ingest"], posted)
        _check_normalise(found["normalise"], samples, posted[200])
        _check_track(found["track"], found["normalise"])
        await _check_records(settings, found)

    moved = settings.model_copy(update={"data": tmp_path / "elsewhere"})
    async with _running(moved, "track"), httpx.AsyncClient(timeout=60) as client:
        await until(lambda: _at_rest(client, moved, "track"))
        restored = await _page(client, moved, "track")
    assert restored.sum("bluetick_restored_states_total") > 0
    for name in ("tracked", "stalled"):
        family = f"bluetick_{name}_messages"
        assert restored.by(family, "provider") == found["track"].by(family, "provider")


def ports(settings: Settings) -> dict[str, int]:
    """Return the port of the metrics of each service."""
    processors = {one.name: settings.health_port(one.name) for one in PROCESSORS}
    return {INGEST: settings.ingest_metrics_port, **processors}


def _running(settings: Settings, *names: str) -> AbstractAsyncContextManager[list[Running]]:
    services = [Service(name, ports(settings)[name]) for name in names]
    return running(settings, services, lambda *_: None)


async def _page(client: httpx.AsyncClient, settings: Settings, name: str) -> Page:
    return Page((await client.get(f"http://127.0.0.1:{ports(settings)[name]}/metrics")).text)


async def _at_rest(client: httpx.AsyncClient, settings: Settings, *names: str) -> bool:
    """Whether there is no lag, no timer is due soon, and all stalled messages are counted."""
    for name in names or [one.name for one in PROCESSORS]:
        page = await _page(client, settings, name)
        if page.sum("bluetick_lag_records") or page.sum("bluetick_lag_seconds"):
            return False
    page = await _page(client, settings, "track")
    states, patience = await _states(settings), patience_of(settings)
    if any(timers.due(state, patience) < now_ms() + 60_000 for state in states):
        return False
    stalled = sum(state.stalled_since is not None for state in states)
    return 0 < page.sum("bluetick_stalled_messages") == stalled


async def _states(settings: Settings) -> list[MessageState]:
    """Return the newest state of each message."""
    records = await read(settings.kafka, settings.topics.messages)
    newest = {one.key: one.value for one in records if not one.key.startswith("viewer/")}
    return [decode_state(value) for value in newest.values()]


async def _post(
    client: httpx.AsyncClient, port: int, samples: list[examples.Sample]
) -> Counter[int]:
    """Post everything; return how often each status was answered."""
    url, codes = f"http://127.0.0.1:{port}", Counter[int]()
    for sample in samples * TIMES:
        answer = await client.request(
            sample.method,
            f"{url}/webhooks/{sample.source}{sample.path}",
            headers=sample.headers,
            content=bytes(sample.body),
        )
        codes[answer.status_code] += 1
    for body in [b"{ no JSON"] * MALFORMED + [b"x" * 100_001]:
        codes[(await client.post(f"{url}/webhooks/whapi", content=body)).status_code] += 1
    codes[(await client.post(f"{url}/webhooks/unknown", content=b"{}")).status_code] += 1
    codes[(await client.get(f"{url}/webhooks/whapi")).status_code] += 1
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost : x\r\n\r\n")
    codes[int((await reader.read()).split()[1])] += 1
    writer.close()
    return codes


def _check_families(page: Page, expected: list[Family]) -> None:
    """Each family of the service, and no other; every child is there before any traffic."""
    assert page.families == {family.name.removesuffix("_total") for family in expected}
    for family in expected:
        if family.kind == "counter" and family.closed and family.labels:
            assert len(page.values(family.name)) == len(list(family.children()))


def _check_ingest(page: Page, posted: Counter[int]) -> None:
    received = page.sum("bluetick_ingest_received_total")
    accepted = page.sum("bluetick_ingest_accepted_total")
    rejected = page.sum("bluetick_ingest_rejected_total")
    assert received == accepted + rejected == posted.total()
    assert page.sum("bluetick_ingest_in_flight") == 0
    responses = {str(code): count for code, count in posted.items()}
    assert page.by("bluetick_ingest_responses_total", "code") == responses
    assert {"200", "400", "404", "405", "413"} == responses.keys()
    # A malformed request has no head that was read, and so no duration.
    assert page.sum("bluetick_ingest_request_seconds_count") == received - posted[400]
    assert page.sum("bluetick_ingest_request_bytes_count") == posted[200]
    times = page.by("bluetick_ingest_last_accepted_timestamp_seconds", "source")
    assert times.keys() == {"smsmanager", "whapi"}
    assert page.sum("bluetick_kafka_connected") == 1
    assert page.sum("bluetick_ready") == 1
    assert page.sum("bluetick_ingest_max_body_bytes") == 100_000


def _check_normalise(page: Page, samples: list[examples.Sample], accepted: int) -> None:
    wanted = [one.expect for one in samples] * TIMES
    observations = page.sum("bluetick_observations_total")
    letters = page.by("bluetick_dead_letters_total", "code")
    ignored = page.by("bluetick_ignored_events_total", "event")
    assert page.sum("bluetick_webhooks_total") == accepted
    assert observations == sum(len(one.observations) for one in wanted)
    expected = sum((Counter(one.dead_letters) for one in wanted), Counter(not_json=MALFORMED))
    assert letters == expected
    assert ignored.total() == sum(sum(one.ignored.values()) for one in wanted)
    items = page.sum("bluetick_items_total")
    assert items == observations + letters.total() + ignored.total()
    assert page.sum("bluetick_lag_records") == 0


def _check_track(page: Page, normalise: Page) -> None:
    outcomes = page.by("bluetick_outcomes_total", "outcome")
    observed = normalise.sum("bluetick_observations_total")
    assert page.sum("bluetick_outcomes_total", without={"outcome": {"replied"}}) == observed
    assert outcomes["replied"] > 0
    assert outcomes["duplicate"] > observed // TIMES - outcomes["corrected"]
    assert page.sum("bluetick_batch_records_sum") == outcomes.total()
    committed = page.sum("bluetick_transactions_total", outcome="committed")
    for name in ("batch_records", "transaction_seconds", "commit_seconds"):
        assert page.sum(f"bluetick_{name}_count") == committed
    assert page.sum("bluetick_end_to_end_seconds_count") == outcomes.total()
    assert page.values("bluetick_partition_ready") == [1.0] * 3
    assert page.sum("bluetick_partitions_assigned") == 3
    assert page.sum("bluetick_rebalances_total") >= 1


async def _check_records(settings: Settings, pages: dict[str, Page]) -> None:
    """The counts are those of the records on the topics."""
    topics, track = settings.topics, pages["track"]
    statuses = [decode_status(r.value) for r in await read(settings.kafka, topics.statuses)]
    events = [decode_event(r.value) for r in await read(settings.kafka, topics.events)]
    letters = await read(settings.kafka, topics.dead_letters)
    states = {r.key for r in await read(settings.kafka, topics.messages)}
    outcomes = track.by("bluetick_outcomes_total", "outcome")
    verdicts = Counter(one.verdict for one in statuses)
    assert {verdict: outcomes[verdict] for verdict in verdicts} == verdicts
    tags = Counter(str(one.__struct_config__.tag) for one in events)
    assert track.by("bluetick_events_total", "event") == tags
    counted = sum(page.sum("bluetick_dead_letters_total") for page in pages.values())
    assert counted == len(letters)
    messages = sum(not key.startswith("viewer/") for key in states)
    assert track.sum("bluetick_tracked_messages") == messages
    assert track.sum("bluetick_stalled_messages") == tags["stalled"] - tags["resumed"]


class Idle(Member):
    """A member that gets no partition ready, like one that restores for long."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, alarms: Alarms) -> None:
        del settings, alarms
        self._consumer = consumer

    def start(self) -> None: ...

    def assigned(self, partitions: Sequence[TopicPartition]) -> None: ...

    async def revoked(self) -> None: ...

    async def next_poll(self) -> Poll:
        return Poll((), 50, 1)

    async def records(self, polled: Polled) -> bool:
        return not polled

    def overtaken(self, partition: TopicPartition, problem: Problem) -> None: ...

    def failed(self, error: Exception) -> str:
        return repr(error)

    async def start_over(self) -> None: ...

    def waiting(self) -> Iterable[TopicPartition]:
        return set(self._consumer.assignment())

    async def close(self) -> None: ...


async def test_the_lag_of_a_partition_that_is_not_read_is_known(settings: Settings) -> None:
    """Its records, and the age of the oldest; a partition without records has no lag."""
    topic, age = settings.topics.observations, 3600
    written = now_ms() - age * 1000
    await write(settings, [Record(topic, 1, b"k", b"{}", [], written + n) for n in range(3)])
    worker, stop = GroupWorker(TRACK, settings, Idle), asyncio.Event()
    running_ = asyncio.create_task(worker.run(stop))
    registry = exposed("track")

    def value(name: str, partition: int) -> float | None:
        labels = {"topic": topic, "partition": str(partition)}
        return registry.get_sample_value(f"bluetick_{name}", labels)

    async def found() -> bool:
        return (value("lag_seconds", 1) or 0) >= age

    await until(found)
    assert age <= (value("lag_seconds", 1) or 0) < age + 600
    assert [value("lag_records", number) for number in range(3)] == [0, 3, 0]
    assert value("lag_seconds", 0) == value("partition_ready", 1) == 0
    stop.set()
    await running_
    # Another process has the partitions now.
    assert value("lag_records", 1) is value("partition_ready", 1) is None
