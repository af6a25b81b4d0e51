"""`bluetick group`: the members, offsets and lag of the groups, and moving their offsets."""

import asyncio
import re
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from rich.console import Console

from cli.confirmation import confirmed, require_terminal
from cli.group_moves import Move, Position, Target, planned, target_of
from cli.output.jsonl import print_json
from cli.output.tables import PlainTable, number, text
from cli.problem_sentences import CommandProblem
from cli.tail import resolve
from deploy import consumer_groups as members
from deploy.consumer_groups import Group
from processors.runtime import consumer_groups as offsets
from processors.runtime.consumer_groups import Committed
from schemas.coordinates import Partition
from schemas.processor_list import PROCESSORS
from schemas.topics import Topics
from service.settings import Settings
from service.wall_clock import now_ms

# Kafka's state of a group that does not exist.
_ABSENT = "Dead"

# The end of a member's id: a random UUID, of which a few digits tell members apart.
_RANDOM = re.compile(r"-([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def show(settings: Settings, name: str | None, *, json: bool) -> int:
    """Print the groups of the processors, or one of them; returns 0."""
    names = [name] if name else [one.name for one in PROCESSORS]
    for one in names:
        group, positions = asyncio.run(look(settings, _processor(settings.topics, one)))
        if json:
            print_json(_fields(group, positions))
        else:
            _print(group, positions)
    return 0


def move(
    settings: Settings, name: str, topic: str, partitions: Sequence[int], to: str, *, yes: bool
) -> int:
    """Move the committed offsets of a group without members; returns 1 if the user declines."""
    require_terminal("moving a group changes what it reads next", yes=yes)
    processor = _processor(settings.topics, name)
    target = target_of(to, now_ms())
    _, full = resolve(settings.topics, topic)
    wanted = _wanted(settings, processor, full, partitions)
    group, positions = asyncio.run(_positions(settings, processor, wanted, target))
    _refuse_members(group)
    moves = planned(target, positions)
    console = Console(highlight=False)
    if not moves:
        console.print(f"the group {group.name} is there already")
        return 0
    _print_plan(console, group, moves)
    if not confirmed("Move the group?", yes=yes):
        return 1
    asyncio.run(_commit(settings, group, moves))
    console.print(f"moved the group {group.name}; start its workers again")
    return 0


def _processor(topics: Topics, name: str) -> str:
    """Return the processor of a group, given by either's name; raises `Problem`."""
    names = {one.name: one.name for one in PROCESSORS}
    names |= {topics.group(one.name): one.name for one in PROCESSORS}
    if name not in names:
        raise CommandProblem(
            "unknown_group",
            "there is no group {name!r}; the groups are: {groups}",
            name=name,
            groups=list(topics.groups),
        )
    return names[name]


def _wanted(
    settings: Settings, processor: str, topic: str, partitions: Sequence[int]
) -> list[TopicPartition]:
    inputs = settings.topics.inputs(processor)
    if topic not in inputs:
        raise CommandProblem(
            "topic_of_no_group",
            "{processor} does not read {topic}; its topics are: {inputs}",
            processor=processor,
            topic=topic,
            inputs=list(inputs),
        )
    for partition in partitions:
        if partition >= settings.partitions:
            raise CommandProblem(
                "unknown_partition",
                "{topic} has no partition {number}; the last one is {last}",
                topic=topic,
                number=partition,
                last=settings.partitions - 1,
            )
    return [TopicPartition(topic, one) for one in partitions or range(settings.partitions)]


async def look(settings: Settings, processor: str) -> tuple[Group, dict[Partition, Position]]:
    """Return a processor's group, and its position in each partition that it reads."""
    topics = settings.topics.inputs(processor)
    places = [TopicPartition(name, one) for name in topics for one in range(settings.partitions)]
    return await _positions(settings, processor, places, Target("end"))


async def _positions(
    settings: Settings, processor: str, places: Sequence[TopicPartition], target: Target
) -> tuple[Group, dict[Partition, Position]]:
    """Return a group, and its positions in some partitions."""
    name = settings.topics.group(processor)
    topics = {place.topic for place in places}
    async with offsets.watching(settings, topics) as watch:
        # In this order, what moves in between makes no offset lie outside of the log.
        begins = await watch.beginnings(topics)
        done: Committed = await watch.committed(name)
        ends = await watch.ends(topics)
        times = await watch.since(places, target.value) if target.kind == "time" else {}
    positions: dict[Partition, Position] = {
        place: Position(
            begins[place],
            ends[place],
            done[place].offset if place in done else None,
            times.get(place),
        )
        for place in places
    }
    return await members.group(settings, name), positions


def _refuse_members(group: Group) -> None:
    if group.members:
        raise CommandProblem(
            "group_has_members",
            (
                "the group {name} has members ({owners}), and Kafka moves a group only without; "
                "stop its workers, and after a kill wait until their sessions expire"
            ),
            name=group.name,
            owners=sorted({member_text(one) for one in group.owners.values()}) or group.members,
        )


async def _commit(settings: Settings, group: Group, moves: Sequence[Move]) -> None:
    wanted = {TopicPartition(*one.place): one.after for one in moves}
    try:
        await offsets.commit(settings, group.name, wanted)
    except KafkaError as error:
        raise CommandProblem(
            "group_not_moved",
            "Kafka refused to move the group {name}: {why}; see: bluetick group show",
            name=group.name,
            why=type(error).__name__,
        ) from error


def member_text(member: str) -> str:
    """Return a member's id with a part of its random end."""
    return _RANDOM.sub(r"-\1", member)


def _fields(group: Group, positions: dict[Partition, Position]) -> dict[str, object]:
    return {
        "group": group.name,
        "state": group.state,
        "members": group.members,
        "partitions": [
            {
                "topic": place[0],
                "partition": place[1],
                "member": group.owners.get(place),
                "committed": at.committed,
                "begin": at.begin,
                "end": at.end,
                "lag": at.lag,
            }
            for place, at in positions.items()
        ],
    }


def _print(group: Group, positions: dict[Partition, Position]) -> None:
    lag = sum(at.lag for at in positions.values())
    state = "does not exist yet" if group.state == _ABSENT else group.state
    title = f"{group.name}: {state}, members {group.members}, lag {lag}"
    numbers = map(number, ("partition", "committed", "end", "lag"))
    table = PlainTable(title, text("topic"), *numbers, text("member"))
    for place, at in positions.items():
        committed = "-" if at.committed is None else str(at.committed)
        owner = member_text(group.owners.get(place, "-"))
        table.add_row(place[0], str(place[1]), committed, str(at.end), str(at.lag), owner)
    Console(highlight=False).print(table)


def _print_plan(console: Console, group: Group, moves: Sequence[Move]) -> None:
    title = f"The group {group.name} moves"
    numbers = map(number, ("partition", "from", "to"))
    table = PlainTable(title, text("topic"), *numbers, text("effect"))
    for one in moves:
        before = "-" if one.before is None else str(one.before)
        table.add_row(one.place[0], str(one.place[1]), before, str(one.after), _effect(one))
    console.print(table)


def _effect(move: Move) -> str:
    parts = {
        "passes {} deleted records": move.deleted,
        "skips {} records": move.skipped,
        "reads {} records again": move.repeated,
    }
    return ", ".join(text.format(count) for text, count in parts.items() if count) or "no record"
