"""The Kafka admin client, for deployment, processors and commands."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupIdNotFound,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.metadata import MetadataRequest

from service.errors import Problem
from service.kafka.causes import Refused
from service.kafka.connections import adopt
from service.kafka.failures import diagnosed, lacking
from service.kafka.login import options
from service.settings import Settings

T = TypeVar("T")

_REQUEST_SECONDS = 5.0
_COORDINATOR_SECONDS = 20
_AGAIN_SECONDS = 0.2


def administrator(settings: Settings) -> AIOKafkaAdminClient:
    """Return an admin client that fails soon if Kafka does not answer."""
    admin = AIOKafkaAdminClient(
        **options(settings), request_timeout_ms=round(_REQUEST_SECONDS * 1000)
    )
    adopt(admin._client, connect_seconds=_REQUEST_SECONDS, answer_seconds=None)  # noqa: SLF001
    return admin


@asynccontextmanager
async def administering(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started admin client; every error of Kafka becomes a `Problem`."""
    try:
        admin = administrator(settings)
    except ValueError as error:
        raise Problem("kafka_settings", why=str(error)) from error
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise await diagnosed(settings, error) from error
    finally:
        await admin.close()


async def coordinated(call: Callable[[], Awaitable[T]]) -> T:
    """Return the answer of a coordinator; one that is being elected, or loads, is asked again."""
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            return await call()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


async def hidden(admin: AIOKafkaAdminClient, topics: Collection[str]) -> list[str]:
    """Return the topics that this user may not describe; the request creates none.

    Kafka leaves them out of the list of all topics, as if they did not exist.
    """
    if not topics:
        return []
    request = MetadataRequest(list(topics), allow_auto_topic_creation=False)
    answer: Any = await admin._send_request(request)  # noqa: SLF001
    denied = TopicAuthorizationFailedError.errno
    return sorted(name for code, name, *_ in answer.topics if code == denied)


async def absent(settings: Settings, topic: str) -> Problem:
    """Return the problem of a topic that is not listed: it is missing, or hidden from this user."""
    async with administering(settings) as admin:
        if await hidden(admin, [topic]):
            return lacking(settings, Refused("topic", (topic,)))
    return Problem("topic_missing", topic=topic, where=settings.kafka)


async def delete_group(admin: AIOKafkaAdminClient, name: str) -> None:
    """Delete a group without members, with its offsets; raises `Problem` if Kafka refuses.

    aiokafka 0.14 has the request, but no method that sends it.
    """
    coordinator = await admin.find_coordinator(name)
    answer: Any = await admin._send_request(DeleteGroupsRequest([name]), coordinator)  # noqa: SLF001
    for _, code in answer.results:
        # Kafka itself deletes a group whose topics are deleted.
        if code not in (0, GroupIdNotFound.errno):
            raise Problem("group_not_deleted", group=name, why=for_code(code).__name__)


async def ask(admin: AIOKafkaAdminClient, request: Any, broker: int | None = None) -> Any:
    """Return the answer of a broker, by default of any one, to a request that has no method."""
    return await admin._send_request(request, broker)  # noqa: SLF001
