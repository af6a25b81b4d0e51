"""`bluetick tail`: follow a topic, one line per record."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console

from cli.options import Following
from cli.output.jsonl import print_json
from cli.output.records import Record, as_fields, as_line
from cli.problem_sentences import CommandProblem
from processors.normalising.time_order import in_time
from schemas.topics import Topics, partition_of
from service.kafka.admin import absent
from service.kafka.clients import reading
from service.kafka.read_to_end import Records, read_to_end
from service.settings import Settings

_POLL_MS = 500
_UNKEYED = ("raw", "dead-letters")


def run(settings: Settings, topic: str, how: Following) -> int:
    """Print a topic's records as they come; returns the exit code 0.

    `topic` is a short name such as `events` or `raw.<provider>`, or a full one. Printing ends with
    Ctrl-C, after `limit` records, or with `until_end` (which begins at the start) at the present
    end of the topic. Raises `Problem` for an unknown topic or a Kafka that does not answer.
    """
    kind, name = resolve(settings.topics, topic, how.key)
    show = _show_json if how.json else _line_printer(kind)

    async def print_all() -> None:
        left = how.limit
        begin = how.from_start or how.until_end
        following = follow(settings, name, from_start=begin, until_end=how.until_end, key=how.key)
        async with aclosing(following) as records:
            while left != 0 and (record := await anext(records, None)) is not None:
                show(record)
                left = None if left is None else left - 1

    try:
        asyncio.run(print_all())
    except KeyboardInterrupt:
        pass  # how following normally ends
    except BrokenPipeError:
        # The reader has closed the pipe; the flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def resolve(topics: Topics, name: str, key: str | None = None) -> tuple[str, str]:
    """Return a topic's kind (`raw`, `events`, …) and full name; raises `Problem`."""
    short = dict(zip(topics.all, Topics("", providers=topics.providers).all, strict=True))
    short = {full: dotted.removeprefix(".") for full, dotted in short.items()}
    full = next((f for f, s in short.items() if name in (f, s)), None)
    if full is None:
        raise CommandProblem(
            "unknown_topic",
            "there is no topic {name!r}; the topics are: {topics}",
            name=name,
            topics=", ".join(short.values()),
        )
    kind = short[full].partition(".")[0]
    if key is not None and kind in _UNKEYED:
        raise CommandProblem(
            "topic_without_keys", "the records of {full} have no keys; leave out --key", full=full
        )
    if key is not None and key.count("/") < 2:  # noqa: PLR2004 - provider/account/message_id
        raise CommandProblem(
            "not_a_message_key",
            "--key {key!r} is not a message key; give provider/account/message_id",
            key=key,
        )
    return kind, full


async def follow(
    settings: Settings,
    topic: str,
    *,
    from_start: bool,
    until_end: bool = False,
    key: str | None = None,
) -> AsyncGenerator[Record, None]:
    """Yield the committed records of a topic: in order per partition, nearly in order of time.

    With a key only its partition is read. Raises `Problem`.
    """
    async with reading(settings) as client:
        partitions = await _partitions(client, settings, topic, key)
        client.assign(partitions)
        ends = await client.end_offsets(partitions)
        starts = await client.beginning_offsets(partitions) if from_start else ends
        for partition in partitions:
            client.seek(partition, starts[partition])
        async with aclosing(_polls(client, ends if until_end else None)) as polls:
            async for polled in polls:
                for record in in_time(polled):
                    if key is None or record.key == key.encode():
                        yield Record.of(record)


async def _partitions(
    client: AIOKafkaConsumer, settings: Settings, topic: str, key: str | None
) -> list[TopicPartition]:
    """Return the partitions to read. It requests all topics: requesting one might create it."""
    if topic not in await client.topics():
        raise await absent(settings, topic)
    first = TopicPartition(topic, 0)
    client.assign([first])
    await client.end_offsets([first])  # fetches the topic's partitions
    numbers = client.partitions_for_topic(topic) or {0}
    if key is not None:
        return [TopicPartition(topic, partition_of(key, len(numbers)))]
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def _polls(
    client: AIOKafkaConsumer, ends: Mapping[TopicPartition, int] | None
) -> AsyncGenerator[Records, None]:
    """Yield records of the assigned partitions, up to the ends, or without end."""
    if ends is None:
        while True:
            yield await client.getmany(timeout_ms=_POLL_MS)
    async with aclosing(read_to_end(client, ends)) as reads:
        async for read in reads:
            yield read.records


def _show_json(record: Record) -> None:
    print_json(as_fields(record))


class _Console(Console):
    """A console that raises on a closed pipe; rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _line_printer(kind: str) -> Callable[[Record], None]:
    console = _Console()

    def show(record: Record) -> None:
        # A line longer than the terminal stays one line, for a program that reads it.
        console.print(as_line(kind, record), soft_wrap=True)

    return show
