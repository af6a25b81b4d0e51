"""The checks of rights, groups and clocks: from facts to findings. Pure."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cli.doctor.cluster_checks import listed
from cli.doctor.facts import Clock, Group, Place, Rights
from cli.doctor.findings import Finding, Level
from schemas.processor_list import PROCESSORS
from schemas.topics import Topics

# Kafka's codes of operations.
_OPERATIONS: Mapping[str, int] = MappingProxyType({"Read": 3, "Write": 4, "Describe": 8})

_WAITING_SECONDS, _LATE_SECONDS = 60, 600
_CLOCK_WARNING_SECONDS, _CLOCK_PROBLEM_SECONDS = 5.0, 60.0
_AT_REST = ("Stable", "Empty", "Dead")

Need = tuple[str, str, str]
"""An operation, a kind of resource (`topic` or `group`), and the resource's name."""


def check_rights(rights: Rights, topics: Topics) -> list[Finding]:
    """Judge which services this user may run.

    Each service may have a user of its own, so it is a problem only if this one can run none. A
    user that may describe all and write nothing is one to look with, such as that of `doctor`.
    """
    known = (*rights.topics.values(), *rights.groups.values())
    if not known or None in known:
        return [Finding("info", "rights_unknown")]
    lacking = {name: _lacking(rights, needs) for name, needs in _needs(topics).items()}
    able = [name for name, missing in lacking.items() if not missing]
    level: Level = "info" if able or _only_looks(rights, topics) else "problem"
    return [
        *([Finding("ok", "rights_fine", services=able)] if able else []),
        *(
            Finding(level, "rights_lacking", service=name, rights=listed(missing))
            for name, missing in lacking.items()
            if missing
        ),
    ]


def _only_looks(rights: Rights, topics: Topics) -> bool:
    """Whether this user may describe every topic, and write none but that of the clocks."""
    describes, writes = (_having(rights, one) for one in ("Describe", "Write"))
    return describes == {*rights.topics} and writes <= {topics.clocks}


def _having(rights: Rights, operation: str) -> set[str]:
    bit = _OPERATIONS[operation]
    return {name for name, may in rights.topics.items() if (may or 0) >> bit & 1}


def _needs(topics: Topics) -> dict[str, list[Need]]:
    """Return what each service needs, as far as the broker tells it."""
    needs = {"ingest": [("Write", "topic", name) for name in topics.raw_topics]}
    for one in PROCESSORS:
        inputs, outputs = topics.inputs(one.name), topics.outputs(one.name)
        asked = [name for name in topics.needed(one.name) if name not in (*inputs, *outputs)]
        # A processor with state reads back what it has written.
        read = dict.fromkeys((*inputs, *outputs) if one.keeps_state else inputs)
        needs[one.name] = [
            *(("Read", "topic", name) for name in read),
            *(("Write", "topic", name) for name in outputs),
            *(("Describe", "topic", name) for name in asked),
            ("Read", "group", topics.group(one.name)),
        ]
    return {name: [*own, ("Write", "topic", topics.clocks)] for name, own in needs.items()}


def _lacking(rights: Rights, needs: list[Need]) -> list[str]:
    held = {"topic": rights.topics, "group": rights.groups}
    return [
        f"{operation} on the {kind} {name}"
        for operation, kind, name in needs
        if not (held[kind].get(name) or 0) >> _OPERATIONS[operation] & 1
    ]


def check_group(group: Group) -> list[Finding]:
    """Judge the members, offsets and lag of a processor's group."""
    if not group.described:
        return [Finding("info", "group_not_described", group=group.name)]
    found = [*_members(group), *_lag(group), *_offsets(group)]
    if group.denied:
        found.append(Finding("info", "part_denied", why=group.denied))
    if found:
        return found
    lag = sum(one.lag for one in group.places)
    return [Finding("ok", "group_fine", group=group.name, members=group.members, lag=lag)]


def _members(group: Group) -> Iterator[Finding]:
    lag = sum(one.lag for one in group.places)
    if not group.members:
        level: Level = "problem" if lag else "warning"
        fields = {"group": group.name, "lag": lag, "processor": group.processor}
        yield Finding(level, "group_without_members", **fields)
        return
    if group.state not in _AT_REST:
        yield Finding("warning", "group_rebalancing", group=group.name, state=group.state)
        return
    if alone := [_text(one) for one in group.places if one.member is None]:
        yield Finding(
            "problem", "group_partition_without_owner", group=group.name, places=listed(alone)
        )
    partitions = len({one.partition for one in group.places})
    if group.members > partitions:
        fields = {"group": group.name, "members": group.members, "partitions": partitions}
        yield Finding("info", "group_idle_members", **fields)


def _lag(group: Group) -> Iterator[Finding]:
    longest = max((one.waiting or 0.0 for one in group.places), default=0.0)
    if longest > _WAITING_SECONDS:
        yield Finding(
            "problem" if longest > _LATE_SECONDS else "warning",
            "group_lagging",
            group=group.name,
            lag=sum(one.lag for one in group.places),
            seconds=longest,
        )


def _offsets(group: Group) -> Iterator[Finding]:
    begun = [one for one in group.places if one.committed is not None]
    wrong = {
        "group_overtaken": [one for one in begun if (one.committed or 0) < one.begin],
        "group_beyond_log": [one for one in begun if (one.committed or 0) > one.end],
    }
    for code, places in wrong.items():
        if places:
            yield Finding("problem", code, group=group.name, places=listed([*map(_text, places)]))


def _text(place: Place) -> str:
    return f"{place.topic}/{place.partition}"


def check_clock(clock: Clock) -> list[Finding]:
    """Judge the offset of this machine's clock from Kafka's."""
    if clock.offset is None:
        return [Finding("warning", "clock_not_compared", why=clock.why)]
    apart = abs(clock.offset)
    if apart <= _CLOCK_WARNING_SECONDS:
        return [Finding("ok", "clock_fine", offset=apart)]
    level: Level = "problem" if apart > _CLOCK_PROBLEM_SECONDS else "warning"
    return [Finding(level, "clock_differs", offset=apart)]
