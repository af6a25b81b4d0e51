"""The group's assignor as aiokafka calls it: members send their claims, and get an epoch back.

aiokafka's own sticky assignor keeps its state in its class, for all consumers of a process, and
never receives a generation, so either of two claims may win (aio-libs/aiokafka#1176). This one
counts epochs of its own: the epoch of an assignment is one more than the highest claimed epoch.

On the wire its name is `range`, like the assignor it replaces: members of both kinds can be in one
group, because each accepts any assignment of the leader. Kafka would refuse another name until the
last member with the old one has left.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from schemas.coordinates import Partition
from service.kafka.assignment import Member, assign

_VERSION = 0


class Assignor:
    """One consumer's assignor: it sends claims, assigns as leader, and stores its assignment."""

    name = RangePartitionAssignor.name

    def __init__(self, on_disk: Iterable[Partition] = ()) -> None:
        """`on_disk` are the partitions whose stores the member has from an earlier assignment."""
        self._claims = sorted(on_disk)
        self._epoch = 0

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return the metadata that this member sends to the leader."""
        return ConsumerProtocolMemberMetadata(
            _VERSION, list(topics), _packed(self._epoch, self._claims)
        )

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign the partitions of all topics that members read."""
        known = {name: _member(one) for name, one in members.items()}
        topics = sorted({topic for one in known.values() for topic in one.topics})
        places = [(t, number) for t in topics for number in cluster.partitions_for_topic(t) or ()]
        user_data = _packed(1 + max(one.epoch for one in known.values()), ())
        return {
            name: ConsumerProtocolMemberAssignment(_VERSION, _by_topic(given), user_data)
            for name, given in assign(known, places).items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Store the leader's assignment, to claim it next time."""
        self._claims = sorted((p.topic, p.partition) for p in assignment.partitions())
        self._epoch, _ = _unpacked(assignment.user_data)


def _member(metadata: ConsumerProtocolMemberMetadata) -> Member:
    epoch, claims = _unpacked(metadata.user_data)
    return Member(frozenset(metadata.subscription), frozenset(claims), epoch)


def _by_topic(places: Iterable[Partition]) -> list[tuple[str, list[int]]]:
    found = defaultdict(list)
    for topic, number in sorted(places):
        found[topic].append(number)
    return list(found.items())


def _packed(epoch: int, claims: Iterable[Partition]) -> bytes:
    return json.dumps({"epoch": epoch, "claims": dict(_by_topic(claims))}).encode()


def _unpacked(user_data: bytes | None) -> tuple[int, list[Partition]]:
    """Return epoch and claims; none if a member with another assignor sent other data."""
    try:
        found: Any = json.loads(user_data or b"{}")
        claims = [(str(t), int(n)) for t, ns in found.get("claims", {}).items() for n in ns]
        return max(0, int(found.get("epoch", 0))), claims
    except (AttributeError, TypeError, ValueError):
        return 0, []
