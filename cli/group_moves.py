"""Where to move the committed offsets of a group, and what that skips or repeats. Pure."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from cli.problem_sentences import CommandProblem
from processors.replay.range_syntax import time_of
from schemas.coordinates import Partition


class Target(NamedTuple):
    """The new position; `value` is an offset, or a time in Unix milliseconds."""

    kind: Literal["begin", "end", "offset", "time"]
    value: int = 0


class Position(NamedTuple):
    """A partition's first and next offset, the committed one, and the one of the wanted time."""

    begin: int
    end: int
    committed: int | None
    at_time: int | None = None

    @property
    def lag(self) -> int:
        """The offsets that are not committed yet; deleted ones count as committed."""
        return max(0, self.end - max(self.committed or 0, self.begin))


class Move(NamedTuple):
    """The change of one partition: the records that are skipped, read again, or deleted already."""

    place: Partition
    before: int | None
    after: int
    skipped: int
    repeated: int
    deleted: int


def target_of(text: str, now: int) -> Target:
    """Parse a target: begin, end, an offset, or a time; raises `Problem`."""
    if text == "begin":
        return Target("begin")
    if text == "end":
        return Target("end")
    if text.isascii() and text.isdecimal():
        return Target("offset", int(text))
    return Target("time", time_of(text, now))


def planned(target: Target, positions: Mapping[Partition, Position]) -> list[Move]:
    """Return the move of each partition whose offset changes; raises `Problem`."""
    if target.kind == "offset" and len(positions) != 1:
        raise CommandProblem(
            "offset_of_one_partition",
            "an offset belongs to one partition; name that with --partition",
        )
    moves = [_move(target, place, at) for place, at in sorted(positions.items())]
    return [one for one in moves if one.before != one.after]


def _move(target: Target, place: Partition, at: Position) -> Move:
    after = _resolved(target, place, at)
    # Without a committed offset a group begins at the start of the log.
    before = at.begin if at.committed is None else at.committed
    reached = max(before, at.begin)
    return Move(
        place,
        at.committed,
        after,
        skipped=max(0, after - reached),
        repeated=max(0, min(reached, at.end) - after),
        deleted=max(0, at.begin - before),
    )


def _resolved(target: Target, place: Partition, at: Position) -> int:
    if target.kind == "begin":
        return at.begin
    if target.kind == "end":
        return at.end
    if target.kind == "time":
        return at.end if at.at_time is None else at.at_time
    if not at.begin <= target.value <= at.end:
        topic, number = place
        raise CommandProblem(
            "offset_outside_log",
            "{topic}[{partition}] has the offsets {begin} to {end}; choose one of them with --to",
            topic=topic,
            partition=number,
            begin=at.begin,
            end=at.end,
        )
    return target.value
