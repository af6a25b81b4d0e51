"""Fixtures for all tests: a real Kafka for the session, and a namespace for each test."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import topics
from deploy.local_kafka.broker import HOST, SINGLE_NODE, LocalKafka, answered, free_port
from deploy.local_kafka.jars import VERSION, cache_directory, kafka_jars
from schemas.processor_list import PROCESSORS
from service.errors import Problem
from service.settings import Settings
from tests import examples  # noqa: F401 (the profiles, before tests are imported)

_CONTAINER_SECONDS = 90

# In the background a shell may ignore SIGINT, and child processes would inherit that. A test that
# sends SIGINT would then never see the process end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Python images often forbid bytecode. Then each of the tests' processes, hundreds of them, would
# compile all of Bluetick, and each worker all of the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Download Kafka once, before the worker processes start and before any test's timeout runs."""
    config = session.config
    if hasattr(config, "workerinput") or all("unit" in argument for argument in config.args):
        return
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    try:
        asyncio.run(kafka_jars(cache_directory(), reporter.write_line))
    except Problem as problem:
        # Each test that needs it fails with the same reason; the others run.
        reporter.write_line(str(problem))


class _SharedKafka(LocalKafka):
    """A broker that remains registered while a test freezes it."""

    def _settings(self) -> dict[str, str]:
        return {**super()._settings(), "broker.session.timeout.ms": "120000"}

    async def started(self) -> LocalKafka:
        """Start it for the first test that needs it: a start takes seconds of CPU."""
        if self._process is None:
            await self.start()
        return self


@pytest.fixture(scope="session")
def shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_SharedKafka]:
    """Return the local broker of this process, which a fixture may start."""
    shared = _SharedKafka(tmp_path_factory.mktemp("kafka"), proxied=free_port(0), progress=print)
    yield shared
    shared.kill()  # nobody reads its data again


@pytest.fixture
async def freezable(shared_kafka: _SharedKafka) -> AsyncIterator[LocalKafka]:
    """Return a local broker that a test may freeze, but not end: it serves other tests too."""
    broker = await shared_kafka.started()
    yield broker
    broker.resume()  # if the test has failed before it did


@pytest.fixture(scope="session")
async def kafka(shared_kafka: _SharedKafka) -> AsyncIterator[str]:
    """Return the address of a real Kafka: BLUETICK_KAFKA, else a container, else a local one."""
    if named := os.environ.get("BLUETICK_KAFKA"):
        yield named
    elif _docker_answers():
        async for bootstrap in _container():
            yield bootstrap
    else:
        yield (await shared_kafka.started()).bootstrap


@pytest.fixture
def namespace() -> str:
    """Return the prefix for the topics of one test."""
    return f"t-{secrets.token_hex(4)}"


@pytest.fixture
async def settings(kafka: str, namespace: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Return settings of a namespace with topics, free ports and a short session timeout."""
    given = Settings(
        kafka=kafka,
        namespace=namespace,
        partitions=3,
        data=tmp_path / "data",
        session_timeout=6,
        port=free_port(0),
        ingest_metrics_port=0,
    ).model_copy(update={one.port_setting: free_port(0) for one in PROCESSORS})
    await topics.apply(given)
    yield given
    if os.environ.get("BLUETICK_KAFKA"):  # the other brokers end with the session
        await topics.drop(given)


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if not docker:
        return False
    probe = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=5, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


async def _container() -> AsyncIterator[str]:
    """Run the official image. Kafka advertises the outer port, so it is chosen before."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 (slow, seldom used)

    bootstrap = f"{HOST}:{(port := free_port(0))}"
    settings = {
        **SINGLE_NODE,
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://{bootstrap}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    container = DockerContainer(f"apache/kafka:{VERSION}").with_bind_ports(9092, port)
    for name, value in settings.items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    await asyncio.to_thread(container.start)
    try:
        assert await answered(bootstrap, _CONTAINER_SECONDS), "The Kafka container does not answer."
        yield bootstrap
    finally:
        await asyncio.to_thread(container.stop)
