"""What of a namespace is kept when it is dropped, as others read it."""

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


def test_its_own_replays_are_no_strangers() -> None:
    """They go with the namespace."""
    own = [REPLAY, reader("old.normalise", *RAW), reader("old.track", OLD.observations)]
    assert _kept(OLD, own, keep_inputs=False) == Kept()
    assert _replays(OLD, own) == ["old.replay.x"]


@pytest.mark.parametrize("name", ["new.normalise", "new.replay.x", "old.replay.normalise"])
def test_those_of_others_are(name: str) -> None:
    """Another namespace may even be named like a replay."""
    everybody = [REPLAY, reader(name, *RAW)]
    with pytest.raises(Problem, match=f"by {name}\\)"):
        _kept(OLD, everybody, keep_inputs=False)
    assert _kept(OLD, everybody, keep_inputs=True) == Kept(RAW | {OLD.clocks})


def test_replays_stay_where_the_normaliser_does() -> None:
    """Others track its observations, and a replay makes some."""
    kept = _kept(OLD, [REPLAY, reader("new.track", OLD.observations)], keep_inputs=True)
    assert kept.groups == {"old.normalise", "old.replay.x"}
    assert kept.topics == {*RAW, *OBSERVATIONS, OLD.dead_letters, OLD.clocks}
