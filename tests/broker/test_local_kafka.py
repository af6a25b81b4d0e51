"""The local Kafka keeps its data, reports problems in one sentence, and ends with its parent."""

import fcntl
import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local_kafka import broker
from deploy.local_kafka.broker import LocalKafka, free_port
from deploy.local_kafka.jars import LIST, difference, parse_list, verify
from service.errors import Problem
from tests import HOME


async def write(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def first(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        value: bytes | None = (await consumer.getone()).value
        return value


async def test_a_record_comes_back(kafka: str, namespace: str) -> None:
    """A record written to the session's broker is read back byte for byte."""
    topic = f"{namespace}.round-trip"
    await create(kafka, topic)
    await write(kafka, topic, b"\x00caf\xc3\xa9")
    assert await first(kafka, topic) == b"\x00caf\xc3\xa9"


@pytest.mark.long
async def test_data_survives_a_stop_a_new_port_and_a_crash(tmp_path: Path) -> None:
    """A record is there after a stop and a start on another port, and after SIGKILL."""
    messages: list[str] = []
    later: list[str] = []
    async with LocalKafka(tmp_path, progress=messages.append) as kafka:
        await create(kafka.bootstrap, "kept")
        await write(kafka.bootstrap, "kept", b"one")
        assert os.getsid(kafka.pid) != os.getsid(0), "Ctrl-C would reach the broker"
        assert "formatting" in messages
    moved = LocalKafka(tmp_path, free_port(0), progress=later.append)
    async with moved:
        assert moved.port != kafka.port
        assert await first(moved.bootstrap, "kept") == b"one"
        before = moved.bootstrap, moved.pid
        moved.kill()
        await moved.start()
        assert (moved.bootstrap, moved.pid) != before
        assert moved.bootstrap == before[0]
        assert await first(moved.bootstrap, "kept") == b"one"
        moved.pause()  # stop must shut down a paused broker cleanly too
    assert "formatting" not in later
    assert (tmp_path / "log" / ".kafka_cleanshutdown").exists()


CHILD = """
import asyncio, sys
from pathlib import Path
from deploy.local_kafka.broker import LocalKafka

async def main():
    async with LocalKafka(Path(sys.argv[1])) as kafka:
        print(kafka.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux signals the end of the parent to a child"
)
def test_a_killed_parent_leaves_no_broker(tmp_path: Path) -> None:
    """When the process that started it is killed, the broker ends too."""
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HOME) as parent:
        try:
            assert parent.stdout
            broker = os.pidfd_open(int(parent.stdout.readline()))
        finally:
            parent.kill()
    try:
        ended, _, _ = select.select([broker], [], [], 20)
        if not ended:
            signal.pidfd_send_signal(broker, signal.SIGKILL)
        assert ended
    finally:
        os.close(broker)


async def refusal(kafka: LocalKafka) -> str:
    """Return the sentence with which it refuses to start."""
    with pytest.raises(Problem) as caught:
        await kafka.start()
    return str(caught.value)


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """A port in use is refused by its number before a process is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} (Address already in use)" in await refusal(
            LocalKafka(tmp_path, port)
        )


def test_a_free_port_is_given_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is reserved before its user listens, in this process and in others."""
    port = free_port(0)
    monkeypatch.setattr(broker, "_FIRST_PORT", port)
    monkeypatch.setattr(broker, "_PORTS", 1)
    assert free_port(0) != port
    assert free_port(port) == port


async def test_a_data_directory_in_use_is_named(tmp_path: Path) -> None:
    """A directory locked by a broker is refused, with the process that holds the lock."""
    with (tmp_path / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        sentence = await refusal(LocalKafka(tmp_path))
    assert f"{tmp_path} belongs to a running Kafka (process 4711)" in sentence


async def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A data directory below a file is refused by its name."""
    (tmp_path / "file").touch()
    assert "file/data cannot be written (Not a directory)" in await refusal(
        LocalKafka(tmp_path / "file" / "data")
    )


async def test_no_network_on_first_use_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty cache and no network, the problem has the reason and no files are left."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port(0)}")
    sentence = await refusal(LocalKafka(tmp_path / "data", cache=tmp_path / "cache"))
    assert "could not be fetched ([Errno 111] Connection refused)" in sentence
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_broker_that_dies_while_starting_shows_its_log(tmp_path: Path) -> None:
    """When Kafka ends during its start, the problem has the last lines of its log."""
    (tmp_path / "log").mkdir()  # appears formatted, but is not
    kafka = LocalKafka(tmp_path)
    sentence = await refusal(kafka)
    assert "Kafka ended while it was starting" in sentence
    assert "meta.properties" in sentence
    with pytest.raises(RuntimeError):
        _ = kafka.pid


JARS = {"a.jar": "1" * 64, "b.jar": "2" * 64}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (JARS, None),
        ({"a.jar": "1" * 64}, "b.jar is missing"),
        (JARS | {"c.jar": "3" * 64}, "c.jar is not on the list"),
        (JARS | {"b.jar": "3" * 64}, "b.jar has another SHA-256 than listed"),
    ],
)
def test_jars_are_exactly_the_listed_ones(found: dict[str, str], says: str | None) -> None:
    """A missing, extra or changed jar is named; the listed ones are accepted."""
    assert difference(found, JARS) == says


def test_a_tampered_jar_is_named(tmp_path: Path) -> None:
    """One changed byte in an accepted directory is a problem that names the jar."""
    (jar := tmp_path / "a.jar").write_bytes(b"PK")
    listed = {"a.jar": hashlib.sha256(b"PK").hexdigest()}
    verify(tmp_path, listed)
    jar.write_bytes(b"PX")
    with pytest.raises(Problem, match=r"a\.jar has another SHA-256"):
        verify(tmp_path, listed)


def test_the_committed_list_reads() -> None:
    """The list has Kafka itself, and a SHA-256 for every jar."""
    listed = parse_list(LIST.read_text())
    assert "kafka_2.13-4.3.1.jar" in listed
    assert all(len(bytes.fromhex(digest)) == 32 for digest in listed.values())
