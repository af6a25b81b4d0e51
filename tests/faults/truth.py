"""Judges what came of posted webhooks by what was known in advance, and how late it came."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from cli.simulator.simulate import Truth
from tests.broker.reading import Read
from tests.faults.posting import digest
from tests.oracle.compare import differences

IN_TIME_SECONDS = 2.0


class Arrival(NamedTuple):
    """A status: when its webhook was answered 200, when it was seen, Unix seconds."""

    answered: float
    seen: float

    @property
    def delay(self) -> float:
        return max(0.0, self.seen - self.answered)


@dataclass
class Harm:
    """A fault: from when to when it was done."""

    name: str
    began: float
    ended: float = 0.0


class Effect(NamedTuple):
    """What a fault did to the delay of statuses, in seconds.

    `again`: from the end of the harm until the last late status was seen; `latest`: the longest
    from a 200 to its status.
    """

    again: float
    latest: float


def judge_raw(
    raw: Iterable[Read], posted: Collection[bytes] | None, taken: Collection[bytes]
) -> list[str]:
    """Every body answered 200 is on raw byte for byte, and none that was not posted.

    `posted` None: others post as well.
    """
    found = {digest(record.value) for record in raw}
    lost = [body.hex() for body in taken if body not in found]
    foreign = [body.hex() for body in found if posted is not None and body not in posted]
    return differences("raw bodies", lost=lost, foreign=foreign)


def judge_facts(statuses: Iterable[Read], truths: Iterable[Truth]) -> list[str]:
    """Every fact of the messages posted is on statuses once; of others nothing is said."""
    truths = list(truths)
    lives = {key for truth in truths for key in truth.lifecycles}
    expected = Counter(_expected(truths))
    found = Counter(fact for fact in map(_fact, statuses) if fact[0] in lives)
    surplus = found - expected
    return differences(
        "facts known in advance",
        lost=list((expected - found).elements()),
        doubled=[one for one in surplus.elements() if one in expected],
        foreign=[one for one in surplus if one not in expected],
    )


def unseen(statuses: Iterable[Read], truths: Iterable[Truth]) -> set[tuple[Any, ...]]:
    """The facts of the messages posted that are not on statuses."""
    return set(_expected(truths)) - set(map(_fact, statuses))


def judge_inbound(inbound: Sequence[Read], truths: Iterable[Truth]) -> list[str]:
    """As many messages by people are on inbound as were posted."""
    expected = sum(truth.inbound for truth in truths)
    if len(inbound) == expected:
        return []
    word = "lost" if len(inbound) < expected else "doubled"
    return [f"inbound known in advance: {abs(expected - len(inbound))} {word}"]


def arrivals(
    statuses: Sequence[Read],
    seen: Sequence[float],
    raw: Iterable[Read],
    taken: Mapping[bytes, float],
) -> list[Arrival]:
    """When each status was seen, and when the webhook behind it was answered 200."""
    bodies = {(one.topic, one.partition, one.offset): digest(one.value) for one in raw}
    found = []
    for record, at in zip(statuses, seen, strict=True):
        origin = msgspec.json.decode(record.value)["raw"]
        body = bodies.get((origin["topic"], origin["partition"], origin["offset"]), b"")
        if body in taken:
            found.append(Arrival(taken[body], at))
    return found


def effects(those: Iterable[Arrival], harms: Sequence[Harm]) -> list[Effect]:
    """What each fault did to the statuses seen from its beginning to the next one's."""
    those = list(those)
    ends = [*(harm.began for harm in harms[1:]), float("inf")]
    found = []
    for harm, end in zip(harms, ends, strict=False):
        mine = [one for one in those if harm.began <= one.seen < end]
        late = [one.seen for one in mine if one.delay > IN_TIME_SECONDS]
        again = max(0.0, max(late, default=0.0) - harm.ended)
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
