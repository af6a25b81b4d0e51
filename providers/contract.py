"""What a provider's normaliser is given and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Struct

from providers.rejection import Code
from schemas.records import Observation, RawOrigin
from schemas.webhook import RawWebhook


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What could not be normalised: a whole body, or one item of it.

    `pointer` is a JSON pointer (RFC 6901) into the body, "" for all of it; `code` is one of a few
    fixed words; `reason` is one line for a person; `value` is the body or the item, verbatim.
    `exception` is the type of what was raised, `stacktrace` where, if it is a mistake of ours.
    `account` is the one that is not its source's, for the code `foreign_account`.
    """

    code: Code
    reason: str
    value: bytes
    pointer: str = ""
    exception: str = ""
    stacktrace: str = ""
    account: str = ""


class Normalised(Struct, gc=False):
    """Everything one webhook amounts to; nothing of it is left over.

    `ignored` counts what carries no message status, by the provider's word for it.
    """

    observations: list[Observation] = []
    dead_letters: list[DeadLetter] = []
    ignored: dict[str, int] = {}


class Ignored(NamedTuple):
    """An item that carries no message status, under the provider's word for it."""

    event: str


class Item(Struct, frozen=True, gc=False):
    """One item of a body: its own JSON, verbatim, and where it comes from.

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
        """The source it came in by, None if unknown."""
        return self.webhook.source or None


Outcomes = Sequence[Observation | Ignored]
Read = Callable[[Item], Outcomes]


class Part(Struct, frozen=True, gc=False):
    """One item as a provider cut it from a body, and how to read it.

    `read` gives at least one outcome or raises `providers.rejection.Refused`.
    """

    pointer: str
    json: bytes
    read: Read


# A provider is how it cuts a body (already checked, without a byte order mark) into its items.
Split = Callable[[RawWebhook, bytes], list[Part]]
