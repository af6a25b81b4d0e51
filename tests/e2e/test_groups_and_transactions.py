"""`bluetick group` and `bluetick transactions` by the real command line."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from service.kafka import clients
from service.kafka.admin import administering
from service.settings import Settings
from tests.broker.producing import Record, write
from tests.broker.running_ingest import until
from tests.e2e.commands import run

_VERIFY = "transaction.partition.verification.enable"


def _named(settings: Settings) -> dict[str, str]:
    return {
        "BLUETICK_KAFKA": settings.kafka,
        "BLUETICK_NAMESPACE": settings.namespace,
        "BLUETICK_PARTITIONS": str(settings.partitions),
    }


@asynccontextmanager
async def _member(settings: Settings) -> AsyncIterator[None]:
    """A member of the normaliser's group, with partitions."""
    consumer = clients.consumer(settings, settings.topics.group("normalise"))
    consumer.subscribe(list(settings.topics.raw_topics))
    await clients.join(settings, consumer)
    try:
        yield
    finally:
        await clients.leave(consumer)


async def test_a_group_is_moved_only_without_members(settings: Settings) -> None:
    """Its plan says what is skipped or repeated; members, no terminal, a wrong offset refuse."""
    named, raw = _named(settings), settings.topics.raw("whapi")
    await write(settings, [Record(raw, 1, None, b"%d" % number) for number in range(5)])
    moving = ("group", "move", "normalise", "raw.whapi", "--partition", "1", "--to")

    code, output = await run(*moving, "end", **named)
    assert (code, "there is no terminal to confirm it; add --yes" in output) == (1, True), output
    code, output = await run(*moving, "end", "--yes", **named)
    assert (code, "skips 5 records" in output) == (0, True), output
    code, output = await run(*moving, "3", "--yes", **named)
    assert (code, "reads 2 records again" in output) == (0, True), output
    code, output = await run(*moving, "6", "--yes", **named)
    assert (code, f"{raw}[1] has the offsets 0 to 5" in output) == (1, True), output

    async with _member(settings):
        code, output = await run(*moving, "end", "--yes", **named)
        assert (code, f"{settings.namespace}.normalise has members" in output) == (1, True), output
        code, output = await run("group", "show", "normalise", "--json", **named)
    page = json.loads(output)
    assert (code, page["state"], page["members"]) == (0, "Stable", 1)
    [place] = [one for one in page["partitions"] if (one["topic"], one["partition"]) == (raw, 1)]
    assert (place["committed"], place["end"], place["lag"]) == (3, 5, 2)
    assert all(one["member"] for one in page["partitions"])


async def test_a_hanging_transaction_is_shown_and_aborted(settings: Settings) -> None:
    """One in progress is only shown; one that its coordinator has forgotten is aborted."""
    named, topics = _named(settings), settings.topics
    await _set_on_brokers(settings, {_VERIFY: "false"})
    producer = clients.producer(settings, topics.transactional_id(0))
    await producer.start()
    try:
        await producer.begin_transaction()
        # As after a lost marker: the coordinator does not know of this partition.
        producer._txn_manager._txn_partitions.add(TopicPartition(topics.events, 0))
        for name in (topics.statuses, topics.events):
            await producer.send_and_wait(name, b"x", partition=0)
        code, output = await run("transactions", "show", "--json", **named)
        first, second = map(json.loads, output.splitlines())
        assert (code, first["topic"], first["hanging"]) == (1, topics.statuses, False)
        assert (second["topic"], second["hanging"]) == (topics.events, True)
        code, output = await run("transactions", "abort", "statuses/0/0", "--yes", **named)
        assert (code, f"{topics.statuses}/0/0 is in progress" in output) == (1, True), output
        await producer.commit_transaction()
    finally:
        await producer.stop()
        await _set_on_brokers(settings, {})

    code, output = await run("transactions", "abort", "--yes", **named)
    assert (code, "`bluetick track` ends them" in output) == (1, True), output
    code, output = await run("transactions", "abort", "--own", "--yes", **named)
    assert (code, f"aborted {topics.events}/0/0" in output) == (0, True), output
    code, output = await run("transactions", "show", **named)
    assert (code, output.strip()) == (0, "no transaction is open")


async def _set_on_brokers(settings: Settings, config: Mapping[str, str]) -> None:
    """Set the dynamic settings of every broker, and wait until they are in effect."""
    async with administering(settings) as admin:
        brokers = [str(one["node_id"]) for one in (await admin.describe_cluster())["brokers"]]
        kind = ConfigResourceType.BROKER
        await admin.alter_configs([ConfigResource(kind, one, dict(config)) for one in brokers])

        async def in_effect() -> bool:
            asked = [ConfigResource(kind, one, {_VERIFY: ""}) for one in brokers]
            answers: list[Any] = await admin.describe_configs(asked)
            values = {e[1] for a in answers for *_, entries in a.resources for e in entries}
            return values == {config.get(_VERIFY, "true")}

        await until(in_effect)
