"""The spool in front of a real Kafka that is frozen, gone, or comes back: no 200 is forgotten."""

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
    """A broker of this module's own, to be ill-treated."""
    async with LocalKafka(tmp_path_factory.mktemp("own"), free_port(0)) as kafka:
        yield kafka


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def _settled(ingest: Ingest) -> None:
    """Wait until bodies go to Kafka, which may still be busy with what was done to it before."""

    async def there() -> bool:
        await _post(ingest, b"settled", "settled")
        return bool(await stored(ingest, "settled"))

    await until(there)


async def _drained(given: Settings) -> None:
    async def empty() -> bool:
        assert given.spool is not None
        try:
            return not any(look(place / FILE) for place in slots.known(given.spool))
        except sqlite3.OperationalError:
            return False  # it is just being set aside: there is no file for a moment

    await until(empty)


async def _same_bodies(ingest: Ingest, bodies: list[bytes]) -> None:
    """Every body is there, none is there that was not sent, and a repetition has the same id."""
    ids: dict[bytes, set[bytes]] = {}
    for record in await stored(ingest, "m"):
        ids.setdefault(record.value, set()).add(record.headers["ce_id"])
    assert ids.keys() == set(bodies)
    assert all(len(same) == 1 for same in ids.values())


async def test_a_frozen_broker_means_200_from_the_spool(
    own: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """Bodies are taken though Kafka stands still, and are on Kafka as they came once it goes on."""
    bodies = _bodies(60)
    given = _settings(own, namespace, tmp_path)
    async with running(given) as ingest:
        assert await _post_all(ingest, bodies[:20]) == {200}
        own.pause()
        try:
            assert await _post_all(ingest, bodies[20:40]) == {200}
            before = time.time_ns() // 1_000_000
            assert await _post_all(ingest, bodies[40:]) == {200}
            after = time.time_ns() // 1_000_000
            assert sum(held.bodies for held in _held(given).values()) == 40
        finally:
            own.resume()
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


async def test_a_killed_broker_means_200_also_after_a_restart_without_it(
    own: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the drain tried in vain stays; ingest ends and starts without Kafka, and takes more."""
    given = _settings(own, namespace, tmp_path)
    bodies = _bodies(20)
    try:
        async with running(given) as ingest:
            await _settled(ingest)
            own.kill()
            assert await _post_all(ingest, bodies[:10]) == {200}
            await until(lambda: _in_vain(caplog))
        assert sum(held.bodies for held in _held(given).values()) == 10
        async with running(given, create=False) as ingest:
            assert await ingest.ready() == (200, [])
            assert await _post_all(ingest, bodies[10:]) == {200}
            await own.start()
            await _drained(given)
            await _same_bodies(ingest, bodies)
    finally:
        await _back(own)


async def _in_vain(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether something was sent once more after the batch that was on its way at the end."""
    return caplog.text.count("a batch is not acknowledged") > 1


async def _back(own: LocalKafka) -> None:
    """Have the broker run for the next test, if this one ended before it started it."""
    with suppress(RuntimeError):
        await own.start()


async def test_what_the_dead_left_is_taken_over(
    own: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    """Bodies in a place that nobody has any more go to Kafka, whoever comes by."""
    given = _settings(own, namespace, tmp_path)
    assert given.spool is not None
    kept = [slots.acquire(given.spool) for _ in range(3)]
    bodies = _bodies(3)
    for place, body in zip(kept, bodies, strict=True):
        _fill(place, _webhook(body))
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


async def test_a_place_that_cannot_be_emptied_does_not_hold_up_the_others(
    own: LocalKafka,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What Kafka refuses is given up aloud, and kept; it goes there once it is taken."""
    monkeypatch.setattr(retry_schedule, "SKIP_SECONDS", 3600)
    given = _settings(own, namespace, tmp_path)
    assert given.spool is not None
    await topics.apply(given)
    await largest(given, 10_000)
    refused, good, unknown = os.urandom(20_000), _bodies(3), b"of a provider that is no more"
    left = [slots.acquire(given.spool) for _ in range(3)]
    _fill(left[0], _webhook(refused), _webhook(good[0]))
    _fill(left[1], _webhook(unknown, "forgotten"), _webhook(good[1]))
    _fill(left[2], _webhook(good[2]))
    async with running(given, create=False) as ingest:
        await _settled(ingest)
        for place in left:
            place.release()
        await until(lambda: _are_there(ingest, good))
        await until(lambda: _given_up(2))
        assert [_kept(place) for place in left] == [{"whapi": 1}, {"forgotten": 1}, {}]
        told = re.findall(r"Kafka accepts none of the 1 bodies in \S+/(\d+);", caplog.text)
        assert told == ["0", "1"]
        await largest(given, 100_000)
        monkeypatch.setattr(retry_schedule, "SKIP_SECONDS", 0)
        await until(lambda: _are_there(ingest, [refused, *good]))
        await until(lambda: _given_up(1))


def _fill(place: slots.Slot, *webhooks: RawWebhook) -> None:
    with closing(SpoolFile(place.directory)) as file:
        file.add(webhooks)


def _kept(place: slots.Slot) -> dict[str, int]:
    return {name: held.bodies for name, held in look(place.directory / FILE).items()}


async def _given_up(number: int) -> bool:
    """Whether ingest's metrics tell of so many places that it could not empty."""
    told = f"bluetick_ingest_spool_places_given_up {float(number)}\n"
    return told in generate_latest(metrics.registry).decode()


async def test_a_topic_that_takes_nothing_does_not_hold_up_the_other(
    own: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one raw topic deleted, bodies for the other get to Kafka, and those for it are kept."""
    given = _settings(own, namespace, tmp_path)
    async with running(given) as ingest:
        await _settled(ingest)
        await _delete(own, given.topics.raw("whapi"))
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


async def test_a_full_spool_means_503(own: LocalKafka, namespace: str, tmp_path: Path) -> None:
    """A full spool takes nothing more, and nothing in it is deleted."""
    given = _settings(own, namespace, tmp_path, spool_max_bytes=1024 * 1024)
    bodies = [os.urandom(400_000) for _ in range(3)]
    async with running(given) as ingest:
        await _settled(ingest)
        own.pause()
        try:
            assert [await _post(ingest, body) for body in bodies] == [200, 200, 503]
            told = await _unready(ingest)
            assert "Kafka does not answer" in told
            assert "the spool is full" in told
        finally:
            own.resume()
        await _drained(given)
        there = {record.value for record in await stored(ingest, "m")}
        assert there >= set(bodies[:2])


async def _unready(ingest: Ingest) -> str:
    async def unready() -> bool:
        return (await ingest.ready())[0] == 503

    await until(unready)
    return str((await ingest.ready())[1])


async def test_a_damaged_spool_is_set_aside_and_what_is_readable_goes_on(
    own: LocalKafka, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file spoiled in use means one 503 at most; a new one takes over, and what is readable."""
    given = _settings(own, namespace, tmp_path)
    assert given.spool is not None
    bodies = [os.urandom(20_000) for _ in range(300)]  # more than SQLite keeps in memory
    async with running(given) as ingest:
        await _settled(ingest)
        own.pause()
        try:
            assert await _post_all(ingest, bodies[:200]) == {200}
            path = given.spool / "0" / FILE
            _spoil(path, bodies[3])
        finally:
            own.resume()
        await _drained(given)
        await until(lambda: _are_all_there(ingest, bodies[:3] + bodies[4:200]))
        assert len(list(path.parent.glob(f"{FILE}.salvaged-*[0-9]"))) == 1
        assert not slots.set_aside(path.parent), "or the place would be left behind for ever"
        assert re.search(r"is damaged \(body \d+ does not match its checksum\)", caplog.text)
        own.pause()
        try:
            assert await _post_all(ingest, bodies[200:250]) == {200}
            os.truncate(path, 0)
            refused = await _post(ingest, bodies[250])
            assert refused == 503
            assert await _post_all(ingest, bodies[251:]) == {200}
        finally:
            own.resume()
        await until(lambda: _are_all_there(ingest, bodies[251:]))


def _spoil(path: Path, body: bytes) -> None:
    """Change a few bytes of a body where it lies in the file."""
    with path.open("r+b") as file:
        place = file.read().index(body[:1000])
        file.seek(place)
        file.write(b"spoiled")


async def _are_all_there(ingest: Ingest, bodies: list[bytes]) -> bool:
    return {record.value for record in await stored(ingest, "m")} >= set(bodies)


async def test_at_the_end_what_waits_for_kafka_goes_to_the_spool(
    own: LocalKafka,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bodies that Kafka has not acknowledged when ingest is told to stop are answered 200."""
    monkeypatch.setattr(app, "LAST_PUBLISH_SECONDS", 0.5)
    given = _settings(own, namespace, tmp_path, publish_deadline=60.0)
    body = secrets.token_bytes(100)
    async with running(given) as ingest:
        await _settled(ingest)
        own.pause()
        try:
            waiting = asyncio.create_task(_post(ingest, body))
            await until(lambda: _silent(caplog))
            ingest.stop.set()
            assert await waiting == 200
            await asyncio.wait_for(asyncio.shield(ingest.serving), 10)
            assert sum(held.bodies for held in _held(given).values()) == 1
        finally:
            own.resume()
    async with running(given, create=False) as ingest:
        await _drained(given)
        await _same_bodies(ingest, [body])


async def _silent(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether ingest has noticed that Kafka does not acknowledge what it was sent."""
    return "Kafka has acknowledged nothing" in caplog.text


@dataclass
class Process:
    """The real ingest in a process of its own, under load from several connections."""

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
async def test_every_200_outlives_a_kill(
    own: LocalKafka, namespace: str, tmp_path: Path, *, away: bool
) -> None:
    """SIGKILL under load: what was answered 200 is on Kafka after a restart, nothing else is."""
    given = _settings(own, namespace, tmp_path)
    await topics.apply(given)
    async with _process(given) as first:
        loads = [asyncio.create_task(first.load()) for _ in range(16)]
        await until(lambda: _has_taken(first, 200))
        if away:
            own.kill()
            so_far = len(first.taken)
            await until(lambda: _has_taken(first, so_far + 200))
        await first.end(signal.SIGKILL)
        await asyncio.gather(*loads)
    await _back(own)
    async with _process(given) as second:
        await _drained(given)
        assert await second.end(signal.SIGTERM) == 0
    async with running(given, create=False) as ingest:
        there = {record.value for record in await stored(ingest, "m")}
    assert first.taken <= there <= first.sent


async def _has_taken(process: Process, number: int) -> bool:
    return len(process.taken) >= number
