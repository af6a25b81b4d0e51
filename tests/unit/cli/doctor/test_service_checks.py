"""Rights, groups and clocks: facts and the codes of their findings."""

from typing import Any

import pytest
from msgspec.structs import replace

from cli.doctor.facts import Clock, Group, Place, Rights
from cli.doctor.service_checks import check_clock, check_group, check_rights
from providers import NAMES
from schemas.topics import Topics
from tests.unit.cli.doctor.test_cluster_checks import codes

TOPICS = Topics("ns", providers=NAMES)
READ, WRITE, DESCRIBE = 1 << 3, 1 << 4, 1 << 8
ALL = READ | WRITE | DESCRIBE

PLACE = Place(
    topic="ns.observations", partition=0, begin=0, end=9, committed=9, lag=0, member="m-1"
)
GROUP = Group(
    name="ns.track",
    processor="track",
    state="Stable",
    members=1,
    places=(PLACE, replace(PLACE, partition=1)),
)


def rights(**changes: int | None) -> Rights:
    """Return all rights, except for the topics named in `changes` (by their last word)."""
    topics = {name: changes.get(name.rpartition(".")[2], ALL) for name in TOPICS.all}
    return Rights(topics, dict.fromkeys(TOPICS.groups, ALL))


def test_all_rights() -> None:
    """One finding names every service."""
    [found] = check_rights(rights(), TOPICS)
    assert codes([found]) == [("ok", "rights_fine")]
    assert found.fields["services"] == ["ingest", "normalise", "track", "measure"]


def test_the_user_of_one_service() -> None:
    """A user of ingest needs no rights of the others: these are no problem."""
    own = dict.fromkeys((*TOPICS.raw_topics, TOPICS.clocks), WRITE | DESCRIBE)
    only = Rights(dict.fromkeys(TOPICS.all, 0) | own, dict.fromkeys(TOPICS.groups, 0))
    fine, *others = check_rights(only, TOPICS)
    assert fine.fields["services"] == ["ingest"]
    assert codes(others) == [("info", "rights_lacking")] * 3
    assert "Read on the topic ns.raw.smsmanager" in others[0].message


def test_a_user_to_look_with() -> None:
    """One that may describe every topic, and write only to the clocks, need not run a service."""
    looking = Rights(
        dict.fromkeys(TOPICS.all, READ | DESCRIBE) | {TOPICS.clocks: WRITE | DESCRIBE},
        dict.fromkeys(TOPICS.groups, DESCRIBE),
    )
    assert codes(check_rights(looking, TOPICS)) == [("info", "rights_lacking")] * 4
    unseen = replace(looking, topics={**looking.topics, TOPICS.events: 0})
    assert ("problem", "rights_lacking") in codes(check_rights(unseen, TOPICS))


def test_records_that_may_not_be_read() -> None:
    """Their age is not known; the rest of the group is judged."""
    [found] = check_group(replace(GROUP, denied="Kafka denies it"))
    assert codes([found]) == [("info", "part_denied")]
    assert found.message == "not checked: Kafka denies it"


@pytest.mark.parametrize(
    ("changes", "service", "lacking"),
    [
        ({"clocks": READ}, "ingest", "Write on the topic ns.clocks"),
        ({"clocks": READ}, "track", "Write on the topic ns.clocks"),
    ],
)
def test_a_user_that_can_run_nothing(changes: dict[str, int], service: str, lacking: str) -> None:
    """Then each service is a problem, with what is lacking."""
    found = check_rights(rights(**changes), TOPICS)
    assert {one.level for one in found} == {"problem"}
    [message] = [one.message for one in found if one.fields["service"] == service]
    assert message == f"this user cannot run {service}: it lacks {lacking}"


def test_unknown_rights() -> None:
    """An old broker does not say them."""
    assert codes(check_rights(rights(events=None), TOPICS)) == [("info", "rights_unknown")]


@pytest.mark.parametrize(
    ("group", "place", "expected"),
    [
        ({}, {}, [("ok", "group_fine")]),
        ({}, {"lag": 5, "waiting": 60.0}, [("ok", "group_fine")]),
        ({}, {"lag": 5, "waiting": 61.0}, [("warning", "group_lagging")]),
        ({}, {"lag": 5, "waiting": 601.0}, [("problem", "group_lagging")]),
        (
            {"members": 0, "state": "Empty"},
            {"member": None},
            [("warning", "group_without_members")],
        ),
        (
            {"members": 0, "state": "Empty"},
            {"member": None, "lag": 1},
            [("problem", "group_without_members")],
        ),
        (
            {"state": "PreparingRebalance"},
            {"member": None},
            [("warning", "group_rebalancing")],
        ),
        ({}, {"member": None}, [("problem", "group_partition_without_owner")]),
        ({"members": 3}, {}, [("info", "group_idle_members")]),
        ({}, {"begin": 10, "end": 12}, [("problem", "group_overtaken")]),
        ({}, {"end": 8}, [("problem", "group_beyond_log")]),
        ({}, {"committed": None}, [("ok", "group_fine")]),
        ({"described": False}, {"member": None}, [("info", "group_not_described")]),
    ],
)
def test_a_group(
    group: dict[str, Any], place: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Members, owners, lag and offsets, of one partition beside another one that is fine."""
    places = (PLACE, replace(PLACE, partition=1, **place))
    if group.get("members") == 0:
        places = (replace(PLACE, member=None), places[1])
    assert codes(check_group(replace(GROUP, places=places, **group))) == expected


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (Clock(-5.0), ("ok", "clock_fine")),
        (Clock(-5.1), ("warning", "clock_differs")),
        (Clock(60.1), ("problem", "clock_differs")),
        (Clock(None, "the topic is missing"), ("warning", "clock_not_compared")),
    ],
)
def test_a_clock(clock: Clock, expected: tuple[str, str]) -> None:
    """The bounds are those of readiness, in both directions."""
    assert codes(check_clock(clock)) == [expected]
