"""The least rights that each command needs on Kafka, as data (docs/security.md shows them). Pure.

With ACLs, each service has a user of its own, with exactly these.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal, NamedTuple

from schemas.processor_list import MEASURE, NORMALISE, PROCESSORS, TRACK
from schemas.topics import Topics

Resource = Literal["topic", "group", "transactional-id", "cluster"]
Operation = Literal[
    "Alter",
    "AlterConfigs",
    "Create",
    "Delete",
    "Describe",
    "DescribeConfigs",
    "Read",
    "Write",
]

CLUSTER = "kafka-cluster"


class Right(NamedTuple):
    """A right to one operation; `prefixed` names all resources that begin with `name`.

    Read, Write, Delete and Alter include Describe; AlterConfigs includes DescribeConfigs.
    """

    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False


def _ingest(topics: Topics) -> list[Right]:
    return [*_on(topics.raw_topics, "Write"), *_clocks(topics)]


def _track(topics: Topics) -> list[Right]:
    outputs = topics.outputs(TRACK.name)
    return [
        *_processor(topics, TRACK.name),
        # After a crash it reads its own outputs: states to restore, transactions left open.
        *_on(outputs, "Read"),
        # Its timers wait until normalise has read all raw bodies.
        *_on(topics.source.inputs(NORMALISE.name), "Describe"),
        Right("group", topics.source.group(NORMALISE.name), "Describe"),
        Right("transactional-id", f"{topics.namespace}.track.", "Write", prefixed=True),
    ]


def _measure(topics: Topics) -> list[Right]:
    return [
        *_processor(topics, MEASURE.name),
        # After a crash it reads back what its stores are restored from.
        *_on((topics.quality, topics.quality_contributions), "Read"),
        Right("transactional-id", f"{topics.namespace}.measure.", "Write", prefixed=True),
    ]


def _processor(topics: Topics, name: str) -> list[Right]:
    return [
        *_on(topics.inputs(name), "Read"),
        Right("group", topics.group(name), "Read"),
        *_on(topics.outputs(name), "Write"),
        *_clocks(topics),
    ]


def _console(topics: Topics) -> list[Right]:
    """Return what its read model, the raw bodies that it shows and its audit log need.

    Its page of the system, retries and replays need the rights of those commands as well.
    """
    shown = (topics.statuses, topics.events, topics.messages, topics.inbound, topics.dead_letters)
    return [
        *_on((*topics.raw_topics, *shown, topics.quality), "Read"),
        Right("group", topics.group("console"), "Read"),
        Right("topic", topics.audit, "Write"),
        *_clocks(topics),
    ]


def _replay(topics: Topics) -> list[Right]:
    """Return what the plan, the run and the report of a replay need."""
    measured = topics.outputs(MEASURE.name)
    outputs = [name for name in topics.required if name not in (topics.observations, *measured)]
    return [
        *_on(outputs, "Read"),
        *_on(measured, "Describe"),
        Right("topic", topics.observations, "Write"),
        *_clocks(topics),
        # The progress of a replay, and how far the processors are.
        Right("group", f"{topics.namespace}.replay.", "Read", prefixed=True),
        Right("group", topics.group(NORMALISE.name), "Describe"),
        Right("group", topics.group(TRACK.name), "Describe"),
    ]


def _dead_letters(topics: Topics) -> list[Right]:
    return [
        *_on(topics.needed(NORMALISE.name), "Describe"),
        Right("topic", topics.dead_letters, "Read"),
    ]


def _retry(topics: Topics) -> list[Right]:
    return [
        *_dead_letters(topics),
        *_on(topics.raw_topics, "Read"),
        Right("topic", topics.dead_letters, "Write"),
        Right("topic", topics.observations, "Write"),
        *_clocks(topics),
    ]


def _topics_check(topics: Topics) -> list[Right]:
    return [*_on(topics.all, "Describe"), *_on(topics.all, "DescribeConfigs")]


def _topics_apply(topics: Topics) -> list[Right]:
    own = [spec.name for spec in topics.specs(1)]
    return [*_topics_check(topics), *_on(own, "Create"), *_on(own, "AlterConfigs")]


def _tail(topics: Topics) -> list[Right]:
    return _on(topics.required, "Read")


def _quality(topics: Topics) -> list[Right]:
    return [Right("topic", topics.quality, "Read")]


def _archive(topics: Topics) -> list[Right]:
    return [*_on(topics.required, "Describe"), *_on(topics.raw_topics, "Read")]


def _rebuild(topics: Topics) -> list[Right]:
    """Return what a rebuild into the namespace needs: it makes topics, and runs the processors."""
    processors = [right for one in PROCESSORS for right in _NEEDED[one.name](topics)]
    return [*_topics_apply(topics), *processors]


def _forget(topics: Topics) -> list[Right]:
    """Return what searching, and writing tombstones in place of the tracker, need."""
    return [
        *_topics_check(topics),
        *_on((*topics.inputs(TRACK.name), *topics.outputs(TRACK.name)), "Read"),
        Right("topic", topics.messages, "Write"),
        Right("group", topics.group(TRACK.name), "Read"),
        Right("transactional-id", f"{topics.namespace}.track.", "Write", prefixed=True),
        *_clocks(topics),
    ]


def _doctor(topics: Topics) -> list[Right]:
    return [
        *_topics_check(topics),
        # It reads how long records wait, and the format of the newest states.
        *_on(dict.fromkeys((*topics.raw_topics, topics.observations, topics.messages)), "Read"),
        *(Right("group", group, "Describe") for group in topics.groups),
        *_clocks(topics),
    ]


def _clocks(topics: Topics) -> list[Right]:
    """Each process writes there to learn Kafka's time."""
    return [Right("topic", topics.clocks, "Write")]


def _on(names: Iterable[str], operation: Operation) -> list[Right]:
    return [Right("topic", name, operation) for name in names]


_NEEDED: Mapping[str, Callable[[Topics], list[Right]]] = {
    "ingest": _ingest,
    **{one.name: partial(_processor, name=one.name) for one in PROCESSORS},
    # They need more than their inputs and outputs.
    TRACK.name: _track,
    MEASURE.name: _measure,
    "console": _console,
    "replay": _replay,
    "dead-letters list": _dead_letters,
    "dead-letters retry": _retry,
    "topics check": _topics_check,
    "topics apply": _topics_apply,
    "tail": _tail,
    "quality": _quality,
    "archive": _archive,
    "rebuild": _rebuild,
    "forget": _forget,
    "doctor": _doctor,
}
COMMANDS = tuple(_NEEDED)
"""The commands with rights of their own."""

_INCLUDES: Mapping[Operation, tuple[Operation, ...]] = {
    "Describe": ("Read", "Write", "Delete", "Alter"),
    "DescribeConfigs": ("AlterConfigs",),
}


def rights(command: str, topics: Topics) -> tuple[Right, ...]:
    """Return the least rights for a command: none is included in another."""
    needed = dict.fromkeys(_NEEDED[command](topics))
    return tuple(
        right
        for right in needed
        if not any(
            right._replace(operation=one) in needed for one in _INCLUDES.get(right.operation, ())
        )
    )


def operations(
    command: str, topics: Topics, resource: str, names: Iterable[str]
) -> tuple[Operation, ...]:
    """Return what a command, or a group of them, needs of these resources; () if unknown."""
    wanted = list(names)
    needed = (
        right.operation
        for known in COMMANDS
        if known.split()[0] == command
        for right in rights(known, topics)
        if right.resource == resource and (not wanted or any(_is_of(right, n) for n in wanted))
    )
    return tuple(dict.fromkeys(needed))


def _is_of(right: Right, name: str) -> bool:
    return name.startswith(right.name) if right.prefixed else name == right.name
