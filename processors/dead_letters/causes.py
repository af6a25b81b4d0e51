"""The cause of a dead letter: what letters of one fault have in common. Pure."""

import re
from typing import NamedTuple

from processors.dead_letters.record import Entry

_NUMBER = re.compile(r"\d+")


class Cause(NamedTuple):
    """The common part of dead letters; each number in the reason is `#`."""

    provider: str
    code: str
    reason: str


def cause_of(entry: Entry) -> Cause:
    """Return the cause of a dead letter."""
    return Cause(provider_of(entry), entry.letter.code, _NUMBER.sub("#", entry.reason))


def provider_of(entry: Entry) -> str:
    """Return the provider of the body: the last part of its raw topic's name."""
    return entry.letter.raw.topic.rpartition(".")[2]
