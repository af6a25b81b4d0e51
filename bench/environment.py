"""What a benchmark stands on: a real Kafka, topics of its own, a directory that goes away."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from os import environ
from pathlib import Path
from typing import Any

from deploy import topics
from deploy.local_kafka.broker import LocalKafka, free_port
from schemas.processors import TRACK
from service.settings import Settings

Tell = Callable[[str], None]
"""Takes one line about what is going on."""


class Ground:
    """A Kafka and a directory; every benchmark makes its own topics on it."""

    def __init__(self, kafka: str, directory: Path, tell: Tell) -> None:
        self._kafka = kafka
        self._directory = directory
        self.tell = tell

    @asynccontextmanager
    async def settings(self, **given: Any) -> AsyncIterator[Settings]:
        """A namespace with its topics, dropped in the end, and free ports."""
        namespace = f"bench-{secrets.token_hex(4)}"
        settings = Settings(
            kafka=self._kafka,
            namespace=namespace,
            data=self._directory / namespace,
            log_level="INFO",
            **given,
        ).model_copy(update={TRACK.port_setting: free_port(0)})
        await topics.apply(settings)
        try:
            yield settings
        finally:
            await topics.drop(settings)
            shutil.rmtree(settings.data, ignore_errors=True)


@asynccontextmanager
async def ground(tell: Tell) -> AsyncIterator[Ground]:
    """The cluster in BLUETICK_KAFKA, else a broker on this machine for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="bluetick-bench-") as name:
        directory = Path(name)
        if named := environ.get("BLUETICK_KAFKA"):
            yield Ground(named, directory, tell)
            return
        async with LocalKafka(directory / "kafka", progress=tell) as local:
            yield Ground(local.bootstrap, directory, tell)


def size(directory: Path) -> int:
    """The bytes of all files in a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
