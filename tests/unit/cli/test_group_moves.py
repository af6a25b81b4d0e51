"""Where a group moves, and what that skips or repeats."""

import pytest

from cli.group_moves import Move, Position, Target, planned, target_of
from service.errors import Problem

NOW = 1_800_000_000_000
PLACE = ("ns.raw.whapi", 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("begin", Target("begin")),
        ("end", Target("end")),
        ("0", Target("offset", 0)),
        ("120", Target("offset", 120)),
        ("-2h", Target("time", NOW - 7_200_000)),
        ("2026-05-01", Target("time", 1_777_593_600_000)),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    """A number is an offset; everything else is a word or a time."""
    assert target_of(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "-1", "soon", "²"])
def test_what_is_no_target(text: str) -> None:
    """It is refused as a time is."""
    with pytest.raises(Problem, match="is not a time"):
        target_of(text, NOW)


@pytest.mark.parametrize(
    ("target", "position", "after", "effect"),
    [
        (Target("begin"), Position(2, 9, 7), 2, (0, 5, 0)),
        (Target("end"), Position(2, 9, 7), 9, (2, 0, 0)),
        (Target("offset", 8), Position(2, 9, 7), 8, (1, 0, 0)),
        (Target("offset", 4), Position(2, 9, 7), 4, (0, 3, 0)),
        # Without a committed offset the group is at the start of the log.
        (Target("end"), Position(2, 9, None), 9, (7, 0, 0)),
        (Target("begin"), Position(2, 9, None), 2, (0, 0, 0)),
        # Past a gap that retention left.
        (Target("begin"), Position(5, 9, 2), 5, (0, 0, 3)),
        (Target("offset", 6), Position(5, 9, 2), 6, (1, 0, 3)),
        # The log was created again, and is shorter than the committed offset.
        (Target("end"), Position(0, 4, 7), 4, (0, 0, 0)),
        (Target("begin"), Position(0, 4, 7), 0, (0, 4, 0)),
        (Target("time", NOW), Position(2, 9, 7, at_time=4), 4, (0, 3, 0)),
        # No record is as new as that.
        (Target("time", NOW), Position(2, 9, 7), 9, (2, 0, 0)),
    ],
)
def test_a_move(
    target: Target, position: Position, after: int, effect: tuple[int, int, int]
) -> None:
    """Each target, and the records that it skips, repeats, and passes as deleted."""
    [move] = planned(target, {PLACE: position})
    assert move == Move(PLACE, position.committed, after, *effect)


def test_what_stays_is_no_move() -> None:
    """Only partitions whose offset changes are in the plan, in their order."""
    positions = {
        ("t", 1): Position(0, 9, 3),
        ("t", 0): Position(0, 5, 1),
        ("t", 2): Position(0, 4, 4),
    }
    assert [one.place for one in planned(Target("end"), positions)] == [("t", 0), ("t", 1)]


def test_what_is_refused() -> None:
    """An offset of several partitions, and one that the log does not have."""
    at = Position(2, 9, 7)
    with pytest.raises(Problem, match="name that with --partition"):
        planned(Target("offset", 5), {("t", 0): at, ("t", 1): at})
    for offset in (1, 10):
        with pytest.raises(Problem, match="has the offsets 2 to 9"):
            planned(Target("offset", offset), {PLACE: at})


def test_the_lag_of_a_position() -> None:
    """Deleted records are not waited for; a group ahead of the log has no lag."""
    assert [Position(2, 9, done).lag for done in (None, 0, 7, 9, 12)] == [7, 7, 2, 0, 0]
