"""The table of rights: least, complete, and looked up by resource."""

import pytest

from providers import NAMES
from schemas.processor_list import PROCESSORS
from schemas.rights import COMMANDS, Right, operations, rights
from schemas.topics import Topics

TOPICS = Topics("ns", providers=NAMES)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_right_is_included_in_another(command: str) -> None:
    needed = rights(command, TOPICS)
    assert len({*needed}) == len(needed)
    writers = {r.name for r in needed if r.operation in ("Read", "Write")}
    assert [r for r in needed if r.operation == "Describe" and r.name in writers] == []


@pytest.mark.parametrize("one", PROCESSORS, ids=lambda one: one.name)
def test_a_processor_may_read_its_inputs_and_write_its_outputs(one: object) -> None:
    """Also in a namespace that reads the raw topics, or the observations, of another."""
    name: str = one.name  # type: ignore[attr-defined]
    for topics in (
        TOPICS,
        Topics("new", "ns", providers=NAMES),
        Topics("new", "ns", "ns", providers=NAMES),
    ):
        needed = rights(name, topics)
        assert {Right("topic", topic, "Read") for topic in topics.inputs(name)} <= {*needed}
        assert {Right("topic", topic, "Write") for topic in topics.outputs(name)} <= {*needed}
        assert Right("group", topics.group(name), "Read") in needed


def test_a_tracker_may_use_its_transactional_ids_and_no_others() -> None:
    ids = [r for r in rights("track", TOPICS) if r.resource == "transactional-id"]
    assert ids == [Right("transactional-id", "ns.track.", "Write", prefixed=True)]
    assert TOPICS.transactional_id(3).startswith(ids[0].name)


@pytest.mark.parametrize(
    ("command", "resource", "names", "found"),
    [
        ("track", "transactional-id", ["ns.track.3"], ("Write",)),
        ("track", "group", ["ns.track"], ("Read",)),
        ("track", "topic", ["ns.statuses"], ("Write", "Read")),
        ("ingest", "topic", ["ns.clocks"], ("Write",)),
        ("replay", "group", ["ns.replay.x"], ("Read",)),
        ("ingest", "topic", ["other"], ()),
        ("library", "topic", ["ns.statuses"], ()),
    ],
)
def test_the_operations_on_a_resource(
    command: str, resource: str, names: list[str], found: tuple[str, ...]
) -> None:
    assert operations(command, TOPICS, resource, names) == found
