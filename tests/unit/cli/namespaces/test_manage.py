"""The topics and groups that `namespace drop` keeps because other namespaces need them."""

import pytest

from cli.namespaces.manage import Kept, _kept, _replays
from deploy.consumer_groups import Group
from providers import NAMES
from schemas.topics import Topics
from service.errors import Problem

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
