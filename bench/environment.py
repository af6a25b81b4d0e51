"""The environment of a benchmark: a real Kafka, its own topics, a temporary directory."""

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
from schemas.processor_list import TRACK
from service.settings import Settings

Log = Callable[[str], None]
"""Shows one line of progress."""


class Environment:
    """A Kafka and a directory; every benchmark creates its own topics."""

    def __init__(self, kafka: str, directory: Path, log: Log) -> None:
        self._kafka = kafka
        self._directory = directory
        self.log = log

    @asynccontextmanager
    async def settings(self, **given: Any) -> AsyncIterator[Settings]:
        """Create a namespace with topics and free ports; the context deletes the topics."""
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
async def environment(log: Log) -> AsyncIterator[Environment]:
    """Use the Kafka in BLUETICK_KAFKA, else start a local broker for the context."""
    with tempfile.TemporaryDirectory(prefix="bluetick-bench-") as name:
        directory = Path(name)
        if named := environ.get("BLUETICK_KAFKA"):
            yield Environment(named, directory, log)
            return
        async with LocalKafka(directory / "kafka", progress=log) as local:
            yield Environment(local.bootstrap, directory, log)


def size(directory: Path) -> int:
    """Return the total size of all files in a directory, bytes."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
