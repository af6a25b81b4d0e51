"""Finds the open transactions on topics, and aborts those that Kafka left open."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from deploy.open_transactions import Known, Open, Producer, judged
from service.errors import Problem
from service.kafka.admin import administering, ask
from service.kafka.transaction_requests import (
    DescribeProducers,
    DescribeTransactions,
    ListTransactions,
    WriteAbortMarker,
)
from service.settings import Settings
from service.wall_clock import now_ms

# Kafka's type of the coordinator of a transactional id, in FindCoordinator.
_TRANSACTION = 1


async def look(settings: Settings, topics: Collection[str]) -> list[Open]:
    """Return the open transactions on the topics; raises `Problem` if Kafka does not answer."""
    async with administering(settings) as admin:
        leaders = await _leaders(admin, topics)
        first = await _producers(admin, leaders)
        if not first:
            return []
        known = await _known(admin, {one.id for one in first})
        return judged(first, known, await _producers(admin, leaders), now_ms())


async def abort(settings: Settings, producer: Producer) -> None:
    """Write the marker that aborts a transaction in its partition; raises `Problem`."""
    name, number = producer.topic, producer.partition
    async with administering(settings) as admin:
        [leader] = await _leaders(admin, [name], number)
        marker = WriteAbortMarker(
            name, number, producer.id, producer.epoch, producer.coordinator_epoch
        )
        answer = await ask(admin, marker, leader)
    [(_, [(_, [(_, code, *_)], *_)], *_)] = answer.markers
    _refuse(code, f"abort the transaction in {name}[{number}]")


async def _leaders(
    admin: AIOKafkaAdminClient, topics: Collection[str], partition: int | None = None
) -> dict[int, dict[str, list[int]]]:
    """Return, by leader, the partitions of the existing topics; those without a leader are out."""
    found: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for topic in await admin.describe_topics():
        if topic["topic"] in topics:
            for one in topic["partitions"]:
                if one["leader"] >= 0 and partition in (None, one["partition"]):
                    found[one["leader"]][topic["topic"]].append(one["partition"])
    return found


async def _producers(
    admin: AIOKafkaAdminClient, leaders: dict[int, dict[str, list[int]]]
) -> list[Producer]:
    found = []
    for leader, topics in leaders.items():
        answer = await ask(admin, DescribeProducers(topics), leader)
        places = ((topic[0], place) for topic in answer.topics for place in topic[1])
        for name, (number, code, _, producers, *_) in places:
            _refuse(code, f"describe the producers of {name}[{number}]")
            found += [_producer(name, number, *one) for one in producers or ()]
    return [one for one in found if one.start >= 0]


def _producer(topic: str, partition: int, *fields: Any) -> Producer:
    id_, epoch, _, written_at, coordinator_epoch, start, *_ = fields
    return Producer(topic, partition, start, id_, epoch, coordinator_epoch, written_at)


async def _known(admin: AIOKafkaAdminClient, producers: Collection[int]) -> dict[int, Known]:
    """Return what the coordinators know, by producer id."""
    names: dict[int, str] = {}
    for broker in (await admin.describe_cluster())["brokers"]:
        answer = await ask(admin, ListTransactions(sorted(producers)), broker["node_id"])
        _refuse(answer.error_code, "list the transactions")
        names |= {id_: name for name, id_, *_ in answer.transactions}
    return {id_: known for id_, name in names.items() if (known := await _describe(admin, name))}


async def _describe(admin: AIOKafkaAdminClient, name: str) -> Known | None:
    coordinator = await admin.find_coordinator(name, _TRANSACTION)
    answer = await ask(admin, DescribeTransactions([name]), coordinator)
    [(code, _, state, timeout, started, _, _, topics, *_)] = answer.transactions
    if code:
        return None
    partitions = [(topic, number) for topic, numbers, *_ in topics for number in numbers]
    return Known(name, state, timeout, started, partitions)


def _refuse(code: int, what: str) -> None:
    error: type[KafkaError] = for_code(code)
    if code:
        raise Problem("kafka_refused", what=what, why=error.__name__, too_many_replicas=False)
