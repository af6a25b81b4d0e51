"""People and their roles. Pure.

`view` is to see the pages, `reveal` to see phone numbers and texts, `act` to retry and replay.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple, get_args

Role = Literal["view", "reveal", "act"]
ROLES: tuple[Role, ...] = get_args(Role)

EVERYONE = "*"
_GROUP = "group:"


class Person(NamedTuple):
    """A person who uses the console, and what that person may do."""

    name: str
    roles: frozenset[Role]

    def may(self, role: Role) -> bool:
        return role in self.roles


LOCAL = Person("local", frozenset(ROLES))
"""The person at this machine: on loopback there is no login."""


def person_of(name: str, groups: Collection[str], given: Mapping[str, str]) -> Person:
    """Return the person of that name; `given` are roles by name, by `group:<name>` and by `*`."""
    keys = (name, *(f"{_GROUP}{group}" for group in groups), EVERYONE)
    return Person(name, frozenset(role for key in keys for role in roles_in(given.get(key, ""))))


def roles_in(text: str) -> Iterable[Role]:
    """Return the roles that a text names, with commas or spaces between; each includes `view`."""
    words = text.replace(",", " ").split()
    return [role for role in ROLES if role in words or (role == "view" and words)]


def unknown_roles(given: Mapping[str, str]) -> list[str]:
    """Return the words that are no role."""
    words = {word for text in given.values() for word in text.replace(",", " ").split()}
    return sorted(words - {*ROLES})
