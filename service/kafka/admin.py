"""A connection for administration: deployment and processors both ask Kafka what there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupIdNotFound, KafkaError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

from service.errors import Problem, unreachable
from service.kafka.connections import adopt
from service.settings import Settings

_REQUEST_SECONDS = 5.0


def administrator(settings: Settings) -> AIOKafkaAdminClient:
    """Make a client for administration; it fails soon where Kafka does not answer."""
    admin = AIOKafkaAdminClient(
        **settings.kafka_options(), request_timeout_ms=round(_REQUEST_SECONDS * 1000)
    )
    adopt(admin._client, connect_seconds=_REQUEST_SECONDS, answer_seconds=None)  # noqa: SLF001
    return admin


@asynccontextmanager
async def administering(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connection for administration; whatever fails on it becomes a `Problem`."""
    try:
        admin = administrator(settings)
    except ValueError as error:
        raise Problem(f"Kafka cannot be asked as the settings say: {error}") from error
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise unreachable(settings.kafka, error) from error
    finally:
        await admin.close()


async def delete_group(admin: AIOKafkaAdminClient, name: str) -> None:
    """Delete a group without members, with its offsets; raises `Problem` if Kafka refuses.

    aiokafka 0.14 has the request, but no call for it.
    """
    coordinator = await admin.find_coordinator(name)
    answer: Any = await admin._send_request(DeleteGroupsRequest([name]), coordinator)  # noqa: SLF001
    for _, code in answer.results:
        # Kafka itself forgets a group whose topics are gone.
        if code not in (0, GroupIdNotFound.errno):
            raise Problem(f"Kafka refused to delete the group {name}: {for_code(code).__name__}")
