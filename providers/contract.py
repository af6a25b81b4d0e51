"""The input and the output of a provider's parser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct

from providers.rejection import Code
from schemas.coordinates import Coordinates
from schemas.records import Observation, RawOrigin
from schemas.webhook import RawWebhook


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A body, or one item of it, that could not be normalised.

    `pointer` is a JSON pointer (RFC 6901) into the body, "" for all of it; `code` is one of a few
    fixed words; `reason` is one line for a person; `value` is the body or the item, verbatim.
    For a defect of Bluetick, `exception` is the type of the error and `stacktrace` its origin.
    For the code `foreign_account`, `account` is the account that its source does not have.
    """

    code: Code
    reason: str
    value: bytes
    pointer: str = ""
    exception: str = ""
    stacktrace: str = ""
    account: str = ""


class Normalised(Struct, gc=False):
    """The complete result of one webhook.

    `ignored` counts the items without a message status, by the provider's word for them. `items` is
    the number of items: each is an observation, a dead letter or ignored.
    """

    observations: list[Observation] = []
    dead_letters: list[DeadLetter] = []
    ignored: dict[str, int] = {}
    items: int = 0


class Ignored(NamedTuple):
    """An item without a message status, under the provider's word for it."""

    event: str


class Item(Struct, frozen=True, gc=False):
    """One item of a body: its own JSON, verbatim, and its origin.

    `account` is the account of an item that names none, None if there is no such account. `stories`
    says whether a story that a contact posted is an inbound message.
    """

    json: bytes
    raw: RawOrigin
    webhook: RawWebhook
    account: str | None = None
    stories: bool = False

    @property
    def source(self) -> str | None:
        """The source that received it; None if unknown."""
        return self.webhook.source or None


Outcomes = Sequence[Observation | Ignored]
Read = Callable[[Item], Outcomes]


class Part(Struct, frozen=True, gc=False):
    """One item, cut from a body, and its reader.

    `read` gives at least one outcome or raises `providers.rejection.Refused`.
    """

    pointer: str
    json: bytes
    read: Read


# Each provider has a function that cuts a checked body, without a byte order mark, into items.
Split = Callable[[RawWebhook, bytes], list[Part]]

# Reads a small body of the shape that nearly all bodies have, in one pass (decision 35). None means
# that the body must be cut and read item by item, which gives the same observations.
Usual = Callable[[RawWebhook, Coordinates, str | None], list[Observation] | None]
