"""Compares the topics with the facts known in advance of posted webhooks, and their delays."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from cli.simulator.simulate import Truth
from tests.broker.reading import Read
from tests.faults.http_load import digest
from tests.oracle.compare import differences

IN_TIME_SECONDS = 2.0


class Arrival(NamedTuple):
    """When a status's webhook was answered 200, and when the status was seen; Unix seconds."""

    answered: float
    seen: float

    @property
    def delay(self) -> float:
        return max(0.0, self.seen - self.answered)


@dataclass
class FaultPeriod:
    """A fault: its name, beginning and end, Unix seconds."""

    name: str
    began: float
    ended: float = 0.0


class Effect(NamedTuple):
    """The effect of a fault on the delay of statuses, in seconds.

    `again`: from the end of the fault until the last late status was seen. `latest`: the longest
    from a 200 to its status.
    """

    again: float
    latest: float


def compare_raw(
    raw: Iterable[Read], posted: Collection[bytes] | None, answered: Collection[bytes]
) -> list[str]:
    """Return the bodies answered 200 that are not on raw, and those on raw that were not posted.

    `posted` is None if other senders post as well.
    """
    found = {digest(record.value) for record in raw}
    lost = [body.hex() for body in answered if body not in found]
    foreign = [body.hex() for body in found if posted is not None and body not in posted]
    return differences("raw bodies", lost=lost, foreign=foreign)


def compare_facts(statuses: Iterable[Read], truths: Iterable[Truth]) -> list[str]:
    """Return lost, doubled and invented facts of the posted messages; others do not count."""
    truths = list(truths)
    keys = {key for truth in truths for key in truth.lifecycles}
    expected = Counter(_expected(truths))
    found = Counter(fact for fact in map(_fact, statuses) if fact[0] in keys)
    surplus = found - expected
    return differences(
        "facts known in advance",
        lost=list((expected - found).elements()),
        doubled=[one for one in surplus.elements() if one in expected],
        foreign=[one for one in surplus if one not in expected],
    )


def unseen(statuses: Iterable[Read], truths: Iterable[Truth]) -> set[tuple[Any, ...]]:
    """Return the facts of the posted messages that are not on statuses."""
    return set(_expected(truths)) - set(map(_fact, statuses))


def compare_inbound(inbound: Sequence[Read], truths: Iterable[Truth]) -> list[str]:
    """Return an error if the number of inbound messages is not that of the posted ones."""
    expected = sum(truth.inbound for truth in truths)
    if len(inbound) == expected:
        return []
    word = "lost" if len(inbound) < expected else "doubled"
    return [f"inbound known in advance: {abs(expected - len(inbound))} {word}"]


def arrivals(
    statuses: Sequence[Read],
    seen: Sequence[float],
    raw: Iterable[Read],
    answered: Mapping[bytes, float],
) -> list[Arrival]:
    """Return when each status was seen, and when its webhook was answered 200."""
    bodies = {(one.topic, one.partition, one.offset): digest(one.value) for one in raw}
    found = []
    for record, at in zip(statuses, seen, strict=True):
        origin = msgspec.json.decode(record.value)["raw"]
        body = bodies.get((origin["topic"], origin["partition"], origin["offset"]), b"")
        if body in answered:
            found.append(Arrival(answered[body], at))
    return found


def effects(those: Iterable[Arrival], faults: Sequence[FaultPeriod]) -> list[Effect]:
    """Return the effect of each fault on the statuses seen before the next fault begins."""
    those = list(those)
    ends = [*(fault.began for fault in faults[1:]), float("inf")]
    found = []
    for fault, end in zip(faults, ends, strict=False):
        mine = [one for one in those if fault.began <= one.seen < end]
        late = [one.seen for one in mine if one.delay > IN_TIME_SECONDS]
        again = max(0.0, max(late, default=0.0) - fault.ended)
        found.append(Effect(again, max((one.delay for one in mine), default=0.0)))
    return found


def _expected(truths: Iterable[Truth]) -> Iterator[tuple[Any, ...]]:
    for truth in truths:
        for key, life in truth.lifecycles.items():
            yield from ((key, fact.gateway, fact.viewer, fact.status) for fact in life.facts)


def _fact(record: Read) -> tuple[Any, ...]:
    fields = msgspec.json.decode(record.value)
    status = fields["status"]
    name = f"unknown:{fields['provider_status']}" if status == "unknown" else status
    return record.key, fields["gateway"], fields.get("viewer"), name
