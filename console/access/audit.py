"""The audit log: who revealed, retried or replayed what, as JSON lines and on a topic.

A line is on the disk before the action begins: an action that cannot be recorded is not done.
Kafka gets the same line as soon as it answers.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from starlette.requests import Request

from console.access.roles import Person
from service.errors import Problem, reason, system_reason
from service.kafka import clients
from service.logger import logger
from service.settings import Settings
from service.wall_clock import now_ms

_SECONDS = 5.0
_PRIVATE = 0o600

log = logger(__name__)


class Audit:
    """The audit log of one console."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings = settings
        self._file = file
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._publishing: set[asyncio.Task[None]] = set()

    async def record(self, person: Person, request: Request, action: str, **detail: object) -> None:
        """Record an action before it is done; raises `Problem` if the file refuses it."""
        line = orjson.dumps(
            {
                "at": now_ms(),
                "person": person.name,
                "address": request.client.host if request.client else "",
                "action": action,
                "path": request.url.path,
                **detail,
            }
        )
        await asyncio.to_thread(self._append, line)
        task = asyncio.create_task(self._publish(line))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def close(self) -> None:
        """Wait for what is being published, for some seconds, and close the producer."""
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=_SECONDS)
        if self._producer is not None:
            await clients.abandon(self._producer, flush_seconds=1)

    def _append(self, line: bytes) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
            try:
                os.write(handle, line + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise Problem(
                "audit_unwritable", file=str(self._file), why=system_reason(error)
            ) from None

    async def _publish(self, line: bytes) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                producer = await self._started()
                await producer.send_and_wait(self._settings.topics.audit, line)
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("audit_unpublished", file=str(self._file), reason=reason(error))

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer: Any = clients.producer(self._settings)
                try:
                    await producer.start()
                except BaseException:
                    await clients.abandon(producer)
                    raise
                self._producer = producer
            return self._producer
