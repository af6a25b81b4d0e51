"""The outcome of a retry for a body's dead letters: resolved, remaining and new ones. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from processors.dead_letters.record import Identity
from providers.contract import DeadLetter, Normalised
from schemas.coordinates import Coordinates


class RetryOutcome(NamedTuple):
    """The outcome of one body: `marked` are to be marked as resolved, `new` are to be written.

    `failing` are today's dead letters. `resolved` counts the marked ones whose item is good now.
    """

    marked: list[Identity]
    new: list[DeadLetter]
    failing: list[DeadLetter]
    resolved: int

    @property
    def changes(self) -> bool:
        """Whether today's dead letters of the body differ from the known ones."""
        return bool(self.marked or self.new)


def outcome_of(raw: Coordinates, known: Collection[Identity], today: Normalised) -> RetryOutcome:
    """Compare a body's known open dead letters with the result of today's code.

    All of them are compared, also those outside of the selection: the whole body is published.
    """
    failing = {Identity.of_body(raw, one.pointer, one.code): one for one in today.dead_letters}
    marked = [letter for letter in known if letter not in failing]
    places = {letter.pointer for letter in failing}
    return RetryOutcome(
        marked=marked,
        new=[one for letter, one in failing.items() if letter not in known],
        failing=list(failing.values()),
        resolved=sum(letter.pointer not in places for letter in marked),
    )
