"""The topics and groups that `namespace drop` keeps because other namespaces need them."""

from pathlib import Path

import pytest

from cli.namespaces.manage import (
    Found,
    Kept,
    _kept,
    _local,
    _refuse_in_use,
    _remove,
    _replays,
)
from deploy.consumer_groups import Group
from providers import NAMES
from schemas.topics import Topics
from service.errors import Problem
from service.settings import Settings

OLD = Topics("old", providers=NAMES)
RAW = frozenset(OLD.raw_topics)
OBSERVATIONS = frozenset({OLD.observations})
REPLAY = Group("old.replay.x", 0, frozenset(), RAW)


def reader(name: str, *topics: str) -> Group:
    return Group(name, 0, frozenset(), frozenset(topics))


def test_its_own_replays_are_not_readers() -> None:
    """They are dropped with the namespace."""
    own = [REPLAY, reader("old.normalise", *RAW), reader("old.track", OLD.observations)]
    assert _kept(OLD, own, keep_inputs=False) == Kept()
    assert _replays(OLD, own) == ["old.replay.x"]


@pytest.mark.parametrize("name", ["normalise", "track", "measure", "console"])
def test_a_group_of_the_namespace_is_its_own(name: str) -> None:
    """It is counted and deleted, is no foreign reader, and its members keep the namespace."""
    group = f"old.{name}"
    assert Found({}, frozenset({group, "strange.group"})).holds(OLD) == "topics: 0, groups: 1"
    assert _kept(OLD, [reader(group, *RAW, OLD.observations)], keep_inputs=False) == Kept()
    running = Group(group, 1, frozenset(), frozenset())
    with pytest.raises(Problem, match=f"the group {group} is in use in it"):
        _refuse_in_use(OLD, [], Kept(), [running])


def test_the_read_model_on_this_machine_is_part_of_the_namespace(tmp_path: Path) -> None:
    """Of this namespace alone, and without the audit log."""
    settings = Settings(data=tmp_path).of("old")
    stores = tmp_path / "state/old"
    stores.mkdir(parents=True)
    (tmp_path / "console/old").mkdir(parents=True)
    names = ("old.sqlite", "old.sqlite-wal", "old.sqlite.b.sqlite", "old/audit.jsonl")
    for name in names:
        (tmp_path / "console" / name).touch()
    local = _local(settings)
    assert local == [stores, *(tmp_path / "console" / name for name in names[:2])]
    for path in local:
        _remove(path)
    assert [name for name in names if (tmp_path / "console" / name).exists()] == [*names[2:]]
    assert not stores.exists()


@pytest.mark.parametrize("name", ["new.normalise", "new.replay.x", "old.replay.normalise"])
def test_replays_of_other_namespaces_are_readers(name: str) -> None:
    """Another namespace may even have the name of a replay."""
    all_groups = [REPLAY, reader(name, *RAW)]
    with pytest.raises(Problem, match=f"by {name}\\)"):
        _kept(OLD, all_groups, keep_inputs=False)
    assert _kept(OLD, all_groups, keep_inputs=True) == Kept(RAW | {OLD.clocks})


def test_replays_are_kept_with_the_normaliser() -> None:
    """Others track its observations, and a replay publishes some."""
    kept = _kept(OLD, [REPLAY, reader("new.track", OLD.observations)], keep_inputs=True)
    assert kept.groups == {"old.normalise", "old.replay.x"}
    assert kept.topics == {*RAW, *OBSERVATIONS, OLD.dead_letters, OLD.clocks}
