"""The selection of dead letters, and their number by cause. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, get_args

from cli.problem_sentences import CommandProblem
from cli.providers import providers
from processors.dead_letters.causes import Cause, cause_of, provider_of
from processors.dead_letters.record import Entry, Kept
from providers.rejection import Code
from schemas.coordinates import Coordinates
from schemas.webhook import to_iso

_PLACE = re.compile(r"(?P<topic>[^\[/]+)(/(\d{1,9})/(\d{1,18})|\[(\d{1,9})\]@(\d{1,18}))", re.ASCII)


class Selection(NamedTuple):
    """The wanted dead letters; `since` and `until` bound their write time, in Unix ms."""

    provider: str | None = None
    code: str | None = None
    since: int | None = None
    until: int | None = None

    def check(self) -> None:
        """Raise `Problem` for a selection that matches no dead letter at all."""
        providers(self.provider)
        if self.code is not None and self.code not in get_args(Code):
            known = ", ".join(get_args(Code))
            raise CommandProblem(
                "unknown_dead_letter_code",
                "there is no code {code!r}; the codes are: {known}",
                code=self.code,
                known=known,
            )
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise CommandProblem(
                "times_backwards",
                "--from, {since}, is not before --to, {until}; swap them",
                since=to_iso(self.since),
                until=to_iso(self.until),
            )

    def holds(self, entry: Entry) -> bool:
        after = self.since is None or self.since <= entry.timestamp
        before = self.until is None or entry.timestamp < self.until
        provider = self.provider in (None, provider_of(entry))
        return after and before and provider and self.code in (None, entry.letter.code)


@dataclass(slots=True)
class Group:
    """The dead letters of one cause: their number, first and last time, and an example."""

    cause: Cause
    first: int
    last: int
    example: Coordinates
    open: int = 0
    resolved: int = 0


def grouped(letters: Iterable[Kept]) -> list[Group]:
    """Return dead letters by cause, those with the most open ones first."""
    groups: dict[Cause, Group] = {}
    for kept in letters:
        entry = kept.entry
        cause = cause_of(entry)
        at = entry.timestamp
        group = groups.setdefault(cause, Group(cause, at, at, entry.letter.raw))
        group.first, group.last = min(group.first, at), max(group.last, at)
        if kept.resolved is None:
            group.open += 1
        else:
            group.resolved += 1
    return sorted(groups.values(), key=lambda group: (-group.open, -group.resolved, group.cause))


def place(at: Coordinates) -> str:
    """Return coordinates in the form that `show` accepts."""
    return f"{at.topic}/{at.partition}/{at.offset}"


def place_of(text: str) -> Coordinates:
    """Parse coordinates: `<topic>/3/120`, or `<topic>[3]@120`; raises `Problem`."""
    match = _PLACE.fullmatch(text)
    if not match:
        raise CommandProblem(
            "not_a_place",
            "{text!r} is not valid; write <topic>/<partition>/<offset>, such as dead-letters/3/7",
            text=text,
        )
    numbers = [int(number) for number in match.groups()[2:] if number is not None]
    return Coordinates(match["topic"], *numbers)
