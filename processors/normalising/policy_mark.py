"""The policy for personal data, noted beside the committed offsets of normalise.

A namespace has one policy: under another one a viewer has another name, so a repeated receipt would
be a new fact. A change is found when a partition is assigned.
"""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.errors import Problem
from service.kafka import clients
from service.settings import Settings

_POLICY = "privacy="


def marked(
    settings: Settings, ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return the offsets to commit, with the policy of the bodies before them."""
    mark = f"{_POLICY}{settings.privacy}"
    return {partition: OffsetAndMetadata(end, mark) for partition, end in ends.items()}


async def refuse_other(
    settings: Settings, consumer: AIOKafkaConsumer, partition: TopicPartition
) -> None:
    """Raise `Problem` if the bodies before the committed offset had another policy.

    Offsets that a command or an earlier version committed have no mark.
    """
    mark = await clients.offset_metadata(consumer, partition)
    before, policy = mark.removeprefix(_POLICY), settings.privacy
    if mark.startswith(_POLICY) and before != policy:
        raise Problem(
            "policy_changed",
            namespace=settings.namespace,
            before=before,
            policy=policy,
            topic=partition.topic,
            partition=partition.partition,
        )
