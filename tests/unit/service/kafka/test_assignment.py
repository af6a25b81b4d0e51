"""The assignment of partitions: complete, balanced, with the fewest moves; and on the wire."""

from typing import Any

import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from hypothesis import given
from hypothesis import strategies as st

from schemas.coordinates import Partition
from service.kafka.assignment import Member, assign
from service.kafka.assignor import Assignor

TOPIC = frozenset({"t"})


def _places(*numbers: int) -> set[Partition]:
    return {("t", number) for number in numbers}


def _member(*numbers: int, epoch: int = 1) -> Member:
    return Member(TOPIC, _places(*numbers), epoch)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"a": _member()}, {"a": _places(0, 1, 2, 3)}),
        ({"a": _member(0, 1), "b": _member(2, 3)}, {"a": _places(0, 1), "b": _places(2, 3)}),
        # One joins: it gets one partition of each other member, and nothing else moves.
        (
            {"a": _member(0, 1), "b": _member(2, 3), "c": _member()},
            {"a": _places(0, 1), "b": _places(2), "c": _places(3)},
        ),
        # One has left: its partitions go to the others.
        ({"b": _member(2, 3)}, {"b": _places(0, 1, 2, 3)}),
        # A newer claim wins.
        ({"a": _member(0, 1, epoch=2), "b": _member(0, 1, 2, 3, epoch=1)}, None),
        # One comes back: of the partitions that may move to it, it gets those on its disk.
        (
            {"a": _member(0, 2, epoch=0), "b": _member(0, 1, 2, 3, epoch=4)},
            {"a": _places(0, 2), "b": _places(1, 3)},
        ),
    ],
)
def test_assignments(
    members: dict[str, Member], expected: dict[str, set[Partition]] | None
) -> None:
    given = assign(members, _places(0, 1, 2, 3))
    assert given == (expected or {"a": _places(0, 1), "b": _places(2, 3)})


@st.composite
def groups(draw: st.DrawFn, *, alike: bool) -> tuple[dict[str, Member], set[Partition]]:
    """Members of a group with claims of several epochs, valid or not, and the partitions."""
    topics = ["t"] if alike else ["t", "u", "v"]
    place = st.tuples(st.sampled_from(topics), st.integers(0, 9))
    reads = st.just(TOPIC) if alike else st.frozensets(st.sampled_from(topics), max_size=3)
    member = st.builds(Member, reads, st.frozensets(place), st.integers(0, 3))
    members = draw(st.dictionaries(st.text("abcdef", min_size=1), member, min_size=1, max_size=6))
    return members, draw(st.sets(place))


@given(groups(alike=False))
def test_each_partition_goes_to_one_member_that_reads_it(
    group: tuple[dict[str, Member], set[Partition]],
) -> None:
    members, places = group
    assigned = assign(members, places)
    everything = [place for given in assigned.values() for place in given]
    assert assigned.keys() == members.keys()
    assert len(everything) == len(set(everything))
    read = {topic for member in members.values() for topic in member.topics}
    assert set(everything) == {place for place in places if place[0] in read}
    assert all(p[0] in members[name].topics for name, given in assigned.items() for p in given)


@given(groups(alike=False))
def test_no_member_has_two_more_than_another_that_could_have_them(
    group: tuple[dict[str, Member], set[Partition]],
) -> None:
    members, places = group
    assigned = assign(members, places)
    for name, own in assigned.items():
        for place in own:
            sizes = [len(assigned[n]) for n in members if place[0] in members[n].topics]
            assert len(own) <= min(sizes) + 1, name


@given(groups(alike=True))
def test_no_balanced_assignment_moves_fewer(
    group: tuple[dict[str, Member], set[Partition]],
) -> None:
    """The most partitions that can stay: a fair share each, and one more for the largest."""
    members, places = group
    held: dict[str, set[Partition]] = {name: set() for name in members}
    for place in places:
        claims = [(m.epoch, name) for name, m in members.items() if place in m.claims]
        if claims:
            held[max(claims)[1]].add(place)
    share, more = divmod(len(places), len(members))
    counts = sorted((len(one) for one in held.values()), reverse=True)
    most = sum(min(count, share + (n < more)) for n, count in enumerate(counts))
    assigned = assign(members, places)
    assert sum(len(assigned[name] & held[name]) for name in members) == most


@given(groups(alike=True))
def test_an_assignment_is_kept_as_it_is(group: tuple[dict[str, Member], set[Partition]]) -> None:
    """Nothing moves if no member has joined or left."""
    members, places = group
    first = assign(members, places)
    claims = {name: Member(TOPIC, frozenset(given), 9) for name, given in first.items()}
    assert assign(claims, places) == first


class Cluster:
    """The part of aiokafka's metadata that an assignor uses."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1, 2, 3, 4, 5} if topic == "t" else None


def _rebalance(*assignors: Any) -> list[list[tuple[str, int]]]:
    """One round of a group whose leader is the first member, through the bytes on the wire."""
    names = [str(number) for number in range(len(assignors))]
    sent = [one.metadata(["t", "away"]).encode() for one in assignors]
    known = [ConsumerProtocolMemberMetadata.decode(one) for one in sent]
    cluster: Any = Cluster()
    given = assignors[0].assign(cluster, dict(zip(names, known, strict=True)))
    found = []
    for name, one in zip(names, assignors, strict=True):
        received = ConsumerProtocolMemberAssignment.decode(given[name].encode())
        one.on_assignment(received)
        found.append([(p.topic, p.partition) for p in received.partitions()])
    return found


def test_members_keep_what_they_had_over_the_wire() -> None:
    a, b, c = Assignor(), Assignor(), Assignor()
    [all_] = _rebalance(a)
    assert len(all_) == 6
    two = _rebalance(a, b)
    three = _rebalance(a, b, c)
    assert [len(one) for one in three] == [2, 2, 2]
    assert set(three[0]) < set(two[0])
    assert set(three[1]) < set(two[1])
    # Another member leads, and one has left.
    back = _rebalance(c, a)
    assert set(three[2]) < set(back[0])
    assert set(three[0]) < set(back[1])


def test_a_returning_member_takes_nothing_by_an_old_claim() -> None:
    a, b = Assignor(), Assignor()
    _rebalance(a, b)
    [all_] = _rebalance(a)
    assert len(all_) == 6
    after = _rebalance(b, a)
    assert [len(one) for one in after] == [3, 3]
    assert set(after[1]) < set(all_)


def test_each_consumer_has_claims_of_its_own() -> None:
    a, b = Assignor([("t", 1)]), Assignor()
    assert b'"t"' in a.metadata(["t"]).user_data
    assert b'"t"' not in b.metadata(["t"]).user_data


@pytest.mark.parametrize("leader", [0, 1])
def test_members_with_the_old_assignor_are_in_the_same_group(leader: int) -> None:
    """With either of the two as leader, as in a rolling upgrade."""
    pair: list[Any] = [Assignor(), RangePartitionAssignor]
    assert pair[0].name == pair[1].name
    first = _rebalance(*(pair if leader == 0 else reversed(pair)))
    assert sorted(place for given in first for place in given) == sorted(_places(*range(6)))
    assert [len(one) for one in first] == [3, 3]


@pytest.mark.parametrize(
    "user_data", [None, b"", b"\xff", b"[]", b"1", b'{"claims": 3}', b'{"claims": {"t": ["x"]}}']
)
def test_other_user_data_is_not_a_claim(user_data: Any) -> None:
    a = Assignor()
    other = ConsumerProtocolMemberMetadata(0, ["t"], user_data)
    cluster: Any = Cluster()
    given = a.assign(cluster, {"a": a.metadata(["t"]), "b": other})
    assert sorted(len(one.partitions()) for one in given.values()) == [3, 3]
