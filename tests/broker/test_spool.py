"""The spool with a real Kafka that is frozen, stopped or restarted: no 200 is lost."""

import asyncio
import os
import re
import secrets
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import generate_latest

from cli.simulator.http_client import Broken, Connection, Endpoint
from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from ingest import app, delivery, metrics
from ingest.spool import retry_schedule, slots
from ingest.spool.database import FILE, SpoolFile, look
from ingest.spool.quota import Held
from schemas.webhook import RawWebhook
from service.settings import Settings
from tests.broker.running_ingest import Ingest, largest, running, settings, stored, until
from tests.e2e.commands import COMMAND


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """Return a broker for the long tests of this module, which end it."""
    async with LocalKafka(tmp_path_factory.mktemp("own"), free_port(0)) as kafka:
        yield kafka


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ADOPT_SECONDS", 0.1)


def _settings(own: LocalKafka, namespace: str, tmp_path: Path, **others: object) -> Settings:
    quick = {"publish_deadline": 0.7} | others
    return settings(own.bootstrap, namespace, spool=tmp_path / "spool", **quick)


async def _post(ingest: Ingest, body: bytes, path: str = "m") -> int:
    return (await ingest.client.post(f"/webhooks/whapi/{path}", content=body)).status_code


async def _post_all(ingest: Ingest, bodies: list[bytes]) -> set[int]:
    return set(await asyncio.gather(*(_post(ingest, body) for body in bodies)))


def _bodies(number: int) -> list[bytes]:
    return [secrets.token_bytes(100) for _ in range(number)]


async def _kafka_acknowledges(ingest: Ingest) -> None:
    """Wait until bodies go to Kafka; the broker may still be recovering from an earlier test."""

    async def there() -> bool:
        await _post(ingest, b"ready", "ready")
        return bool(await stored(ingest, "ready"))

    await until(there)


async def _drained(given: Settings) -> None:
    async def empty() -> bool:
        assert given.spool is not None
        try:
            return not any(look(place / FILE) for place in slots.known(given.spool))
        except sqlite3.OperationalError:
            return False  # the file is just being set aside

    await until(empty)


async def _same_bodies(ingest: Ingest, bodies: list[bytes]) -> None:
    """Assert that exactly the sent bodies are on Kafka, and repetitions have the same id."""
    ids: dict[bytes, set[bytes]] = {}
    for record in await stored(ingest, "m"):
        ids.setdefault(record.value, set()).add(record.headers["ce_id"])
    assert ids.keys() == set(bodies)
    assert all(len(same) == 1 for same in ids.values())


async def test_a_frozen_broker_means_200_from_the_spool(
    freezable: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """Bodies are accepted while Kafka is frozen, and are on Kafka unchanged once it continues."""
    bodies = _bodies(60)
    given = _settings(freezable, namespace, tmp_path)
    async with running(given) as ingest:
        assert await _post_all(ingest, bodies[:20]) == {200}
        freezable.pause()
        try:
            assert await _post_all(ingest, bodies[20:40]) == {200}
            before = time.time_ns() // 1_000_000
            assert await _post_all(ingest, bodies[40:]) == {200}
            after = time.time_ns() // 1_000_000
            assert sum(held.bodies for held in _held(given).values()) == 40
        finally:
            freezable.resume()
        await _drained(given)
        await _same_bodies(ingest, bodies)
        late = [record for record in await stored(ingest, "m") if record.value in bodies[40:]]
        assert all(before <= record.timestamp <= after for record in late), "when it was received"
        assert await _post(ingest, b"again", "m2") == 200
        assert [record.value for record in await stored(ingest, "m2")] == [b"again"]


def _held(given: Settings) -> dict[str, Held]:
    assert given.spool is not None
    [place] = slots.known(given.spool)
    return dict(look(place / FILE))


@pytest.mark.long
async def test_a_killed_broker_means_200_also_after_a_restart_without_it(
    own: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unacknowledged bodies stay; ingest ends and starts without Kafka, and accepts more."""
    given = _settings(own, namespace, tmp_path)
    bodies = _bodies(20)
    try:
        async with running(given) as ingest:
            await _kafka_acknowledges(ingest)
            own.kill()
            assert await _post_all(ingest, bodies[:10]) == {200}
            await until(lambda: _drain_failed(caplog))
        assert sum(held.bodies for held in _held(given).values()) == 10
        async with running(given, create=False) as ingest:
            assert await ingest.ready() == (200, [])
            assert await _post_all(ingest, bodies[10:]) == {200}
            await own.start()
            await _drained(given)
            await _same_bodies(ingest, bodies)
    finally:
        await _back(own)


async def _drain_failed(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a further batch was not acknowledged, after the one in flight at the end."""
    return caplog.text.count("a batch is not acknowledged") > 1


async def _back(own: LocalKafka) -> None:
    """Start the broker for the next test, if this one failed before it did."""
    with suppress(RuntimeError):
        await own.start()


async def test_slots_of_dead_processes_are_taken_over(
    freezable: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """The bodies of a free slot are sent to Kafka by any ingest."""
    given = _settings(freezable, namespace, tmp_path)
    assert given.spool is not None
    kept = [slots.acquire(given.spool) for _ in range(3)]
    bodies = _bodies(3)
    for slot, body in zip(kept, bodies, strict=True):
        _fill(slot, _webhook(body))
    kept[1].release()
    kept[2].release()
    async with running(given) as ingest:
        await until(lambda: _are_there(ingest, bodies[1:]))
        assert look(kept[0].directory / FILE)["whapi"].bodies == 1, "in use: left alone"
        kept[0].release()
        await _drained(given)
        await _same_bodies(ingest, bodies)


async def _are_there(ingest: Ingest, bodies: list[bytes]) -> bool:
    return {record.value for record in await stored(ingest, "m")} == set(bodies)


def _webhook(body: bytes, provider: str = "whapi") -> RawWebhook:
    id_ = secrets.token_hex(16)
    return RawWebhook(
        id=id_, source=provider, provider=provider, body=body, received_at=1000, path="/m"
    )


async def test_a_slot_that_cannot_be_emptied_does_not_delay_the_others(
    freezable: LocalKafka,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Refused bodies are logged and kept, and are sent once Kafka accepts them."""
    monkeypatch.setattr(retry_schedule, "SKIP_SECONDS", 3600)
    given = _settings(freezable, namespace, tmp_path)
    assert given.spool is not None
    await topics.apply(given)
    await largest(given, 10_000)
    refused, good, unknown = os.urandom(20_000), _bodies(3), b"of a provider that is no more"
    left = [slots.acquire(given.spool) for _ in range(3)]
    _fill(left[0], _webhook(refused), _webhook(good[0]))
    _fill(left[1], _webhook(unknown, "forgotten"), _webhook(good[1]))
    _fill(left[2], _webhook(good[2]))
    async with running(given, create=False) as ingest:
        await _kafka_acknowledges(ingest)
        for slot in left:
            slot.release()
        await until(lambda: _are_there(ingest, good))
        await until(lambda: _given_up(2))
        assert [_kept(slot) for slot in left] == [{"whapi": 1}, {"forgotten": 1}, {}]
        named = re.findall(r"Kafka accepts none of the 1 bodies in \S+/(\d+);", caplog.text)
        assert named == ["0", "1"]
        await largest(given, 100_000)
        monkeypatch.setattr(retry_schedule, "SKIP_SECONDS", 0)
        await until(lambda: _are_there(ingest, [refused, *good]))
        await until(lambda: _given_up(1))


def _fill(slot: slots.Slot, *webhooks: RawWebhook) -> None:
    with closing(SpoolFile(slot.directory)) as file:
        file.add(webhooks)


def _kept(slot: slots.Slot) -> dict[str, int]:
    return {name: held.bodies for name, held in look(slot.directory / FILE).items()}


async def _given_up(number: int) -> bool:
    """Whether ingest's metrics count `number` slots that it could not empty."""
    sample = f"bluetick_ingest_spool_places_given_up {float(number)}\n"
    return sample in generate_latest(metrics.registry).decode()


async def test_a_topic_that_refuses_bodies_does_not_delay_the_other(
    freezable: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one raw topic deleted, bodies for the other reach Kafka, and those for it are kept."""
    given = _settings(freezable, namespace, tmp_path)
    async with running(given) as ingest:
        await _kafka_acknowledges(ingest)
        await _delete(freezable, given.topics.raw("whapi"))
        assert await _post_all(ingest, _bodies(3)) == {200}
        await until(lambda: _silent(caplog))
        bodies = _bodies(3)
        for body in bodies:
            answer = await ingest.client.post("/webhooks/smsmanager/m", content=body)
            assert answer.status_code == 200

        async def there() -> bool:
            found = {record.value for record in await stored(ingest, "m", "smsmanager")}
            return found == set(bodies)

        await until(there)

        async def only_whapi() -> bool:
            return {name: one.bodies for name, one in _held(given).items()} == {"whapi": 3}

        await until(only_whapi)


async def _delete(own: LocalKafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=own.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()


async def test_a_full_spool_means_503(
    freezable: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """A full spool refuses further bodies, and none of its bodies is deleted."""
    given = _settings(freezable, namespace, tmp_path, spool_max_bytes=1024 * 1024)
    bodies = [os.urandom(400_000) for _ in range(3)]
    async with running(given) as ingest:
        await _kafka_acknowledges(ingest)
        freezable.pause()
        try:
            assert [await _post(ingest, body) for body in bodies] == [200, 200, 503]
            problems = await _unready(ingest)
            # Which of the two depends on whether the client has closed the silent connection yet.
            assert re.search("Kafka does not (answer|accept the records)", problems)
            assert "the spool is full" in problems
        finally:
            freezable.resume()
        await _drained(given)
        there = {record.value for record in await stored(ingest, "m")}
        assert there >= set(bodies[:2])


async def _unready(ingest: Ingest) -> str:
    async def unready() -> bool:
        return (await ingest.ready())[0] == 503

    await until(unready)
    return str((await ingest.ready())[1])


async def test_a_damaged_spool_is_set_aside_and_its_readable_bodies_are_sent(
    freezable: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file damaged in use costs at most one 503; readable bodies move to a new file."""
    given = _settings(freezable, namespace, tmp_path)
    assert given.spool is not None
    bodies = [os.urandom(20_000) for _ in range(300)]  # more than SQLite keeps in memory
    async with running(given) as ingest:
        await _kafka_acknowledges(ingest)
        freezable.pause()
        try:
            assert await _post_all(ingest, bodies[:200]) == {200}
            path = given.spool / "0" / FILE
            _spoil(path, bodies[3])
        finally:
            freezable.resume()
        await _drained(given)
        await until(lambda: _are_all_there(ingest, bodies[:3] + bodies[4:200]))
        assert len(list(path.parent.glob(f"{FILE}.salvaged-*[0-9]"))) == 1
        assert not slots.set_aside(path.parent), "or the slot would always count as holding bodies"
        assert re.search(r"is damaged \(body \d+ does not match its checksum\)", caplog.text)
        freezable.pause()
        try:
            assert await _post_all(ingest, bodies[200:250]) == {200}
            os.truncate(path, 0)
            refused = await _post(ingest, bodies[250])
            assert refused == 503
            assert await _post_all(ingest, bodies[251:]) == {200}
        finally:
            freezable.resume()
        await until(lambda: _are_all_there(ingest, bodies[251:]))


def _spoil(path: Path, body: bytes) -> None:
    """Change a few bytes of a body in the file."""
    with path.open("r+b") as file:
        offset = file.read().index(body[:1000])
        file.seek(offset)
        file.write(b"spoiled")


async def _are_all_there(ingest: Ingest, bodies: list[bytes]) -> bool:
    return {record.value for record in await stored(ingest, "m")} >= set(bodies)


async def test_a_shutdown_spools_bodies_in_flight(
    freezable: LocalKafka,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bodies that Kafka has not acknowledged at a shutdown are spooled and answered 200."""
    monkeypatch.setattr(app, "LAST_PUBLISH_SECONDS", 0.5)
    given = _settings(freezable, namespace, tmp_path, publish_deadline=60.0)
    body = secrets.token_bytes(100)
    async with running(given) as ingest:
        await _kafka_acknowledges(ingest)
        freezable.pause()
        try:
            waiting = asyncio.create_task(_post(ingest, body))
            await until(lambda: _silent(caplog))
            ingest.stop.set()
            assert await waiting == 200
            await asyncio.wait_for(asyncio.shield(ingest.serving), 10)
            assert sum(held.bodies for held in _held(given).values()) == 1
        finally:
            freezable.resume()
    async with running(given, create=False) as ingest:
        await _drained(given)
        await _same_bodies(ingest, [body])


async def _silent(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether ingest has detected that Kafka acknowledges nothing."""
    return "Kafka has acknowledged nothing" in caplog.text


@dataclass
class Process:
    """The real ingest in another process, under load from several connections."""

    port: int
    process: asyncio.subprocess.Process
    sent: set[bytes]
    taken: set[bytes]

    async def load(self) -> None:
        connection = Connection(Endpoint("127.0.0.1", self.port, tls=False, prefix=""))
        try:
            while True:
                body = secrets.token_bytes(200)
                self.sent.add(body)
                answer = await connection.request("POST", "/webhooks/whapi/m", {}, body)
                if answer.status == 200:
                    self.taken.add(body)
        except Broken:
            connection.close()

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 15)


@asynccontextmanager
async def _process(given: Settings) -> AsyncIterator[Process]:
    port = free_port(0)
    environment = {
        **os.environ,
        "BLUETICK_KAFKA": given.kafka,
        "BLUETICK_NAMESPACE": given.namespace,
        "BLUETICK_SPOOL": str(given.spool),
        "BLUETICK_PORT": str(port),
        "BLUETICK_INGEST_METRICS_PORT": "0",
        "BLUETICK_LOG_LEVEL": "ERROR",
    }
    process = await asyncio.create_subprocess_exec(*COMMAND, "ingest", env=environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/health/ready")).is_success
                except httpx.TransportError:
                    return False

            await until(ready)
        yield Process(port, process, set(), set())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("away", [False, True], ids=["kafka up", "kafka away"])
@pytest.mark.long
async def test_every_200_outlives_a_kill(
    own: LocalKafka, namespace: str, tmp_path: Path, *, away: bool
) -> None:
    """SIGKILL under load: bodies answered 200 are on Kafka after a restart, and only sent ones."""
    given = _settings(own, namespace, tmp_path)
    await topics.apply(given)
    async with _process(given) as first:
        loads = [asyncio.create_task(first.load()) for _ in range(16)]
        await until(lambda: _has_accepted(first, 200))
        if away:
            own.kill()
            so_far = len(first.taken)
            await until(lambda: _has_accepted(first, so_far + 200))
        await first.end(signal.SIGKILL)
        await asyncio.gather(*loads)
    await _back(own)
    async with _process(given) as second:
        await _drained(given)
        assert await second.end(signal.SIGTERM) == 0
    async with running(given, create=False) as ingest:
        there = {record.value for record in await stored(ingest, "m")}
    assert first.taken <= there <= first.sent


async def _has_accepted(process: Process, number: int) -> bool:
    return len(process.taken) >= number
