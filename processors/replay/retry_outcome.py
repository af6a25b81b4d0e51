"""What a retry makes of a body's dead letters: those settled, those that stay, new ones. Pure."""

from collections.abc import Collection
from typing import NamedTuple

from processors.dead_letters.record import Identity
from providers.contract import DeadLetter, Normalised
from schemas.coordinates import Coordinates


class Settled(NamedTuple):
    """Of one body: `settled` are to be marked, `new` to be written, `failing` are today's letters.

    `resolved` counts the settled ones in whose place nothing fails any more.
    """

    settled: list[Identity]
    new: list[DeadLetter]
    failing: list[DeadLetter]
    resolved: int

    @property
    def changes(self) -> bool:
        """Whether today's code makes something else of the body than what is known."""
        return bool(self.settled or self.new)


def settle(raw: Coordinates, known: Collection[Identity], today: Normalised) -> Settled:
    """Compare the open dead letters known of a body with what today's code makes of it.

    All of them are judged, also those nobody asked for: what is published is the whole body.
    """
    failing = {Identity.of_body(raw, one.pointer, one.code): one for one in today.dead_letters}
    settled = [letter for letter in known if letter not in failing]
    places = {letter.pointer for letter in failing}
    return Settled(
        settled=settled,
        new=[one for letter, one in failing.items() if letter not in known],
        failing=list(failing.values()),
        resolved=sum(letter.pointer not in places for letter in settled),
    )
