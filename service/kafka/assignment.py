"""Which member of a group works on which partitions: balanced, and with as few moves as possible.

Members claim the partitions they had, each claim with the epoch of the assignment that gave them.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from schemas.coordinates import Partition


class Member(NamedTuple):
    """A member's topics, claims, and their epoch; 0: it only has the partitions on disk."""

    topics: AbstractSet[str]
    claims: AbstractSet[Partition] = frozenset()
    epoch: int = 0


def assign(
    members: Mapping[str, Member], places: Collection[Partition]
) -> dict[str, set[Partition]]:
    """Assign each partition to one member that reads its topic, if there is one.

    No member has two partitions more than another that could have one of them. Among such
    assignments, the result moves the fewest partitions away from their newest claim, if all members
    read the same topics. A partition that moves goes to another member that claims it, if possible.
    """
    assigned: dict[str, set[Partition]] = {name: set() for name in sorted(members)}
    free: list[Partition] = []
    for place in sorted(places):
        owner = _newest(members, place)
        if owner is None:
            free.append(place)
        else:
            assigned[owner].add(place)
    for place in free:
        if readers := [name for name in assigned if place[0] in members[name].topics]:
            assigned[min(readers, key=lambda name: len(assigned[name]))].add(place)
    while move := _next_move(members, assigned):
        place, giver, taker = move
        assigned[giver].remove(place)
        assigned[taker].add(place)
    return assigned


def _newest(members: Mapping[str, Member], place: Partition) -> str | None:
    claims = [
        (member.epoch, name)
        for name, member in members.items()
        if place in member.claims and place[0] in member.topics
    ]
    return max(claims)[1] if claims else None


def _next_move(
    members: Mapping[str, Member], assigned: Mapping[str, AbstractSet[Partition]]
) -> tuple[Partition, str, str] | None:
    """Return a partition to move, from the largest member possible to the smallest possible."""
    by_size = sorted(assigned, key=lambda name: len(assigned[name]))
    for giver in reversed(by_size):
        for taker in by_size:
            if len(assigned[giver]) < len(assigned[taker]) + 2:
                break
            readable = [p for p in assigned[giver] if p[0] in members[taker].topics]
            if readable:
                # A member that claims it has its store; else the last one, so that all agree.
                return max(readable, key=lambda p: (p in members[taker].claims, p)), giver, taker
    return None
