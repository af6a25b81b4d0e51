"""The contract of a provider's simulator: lives of messages, and webhooks that report them. Pure.

A provider's `simulator.py` defines `SIMULATOR`, an instance of a subclass of `Simulator`. The
command line draws lives, batches items, repeats and shuffles posts; the simulator makes the
provider's items and bodies. All randomness comes from the `Random` that it is given.

Every phone number is one set aside for fiction: +44 7700 900xxx (Ofcom's numbers for drama) and
+1 202 555 01xx.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from schemas.records import Status

OWN_NUMBER = "447700900000"

# The steps of a life that are messages by people, not statuses.
BY_A_PERSON = ("reply", "inbound")

ABSENT = object()
"""The value of a field that is left out."""

JsonObject = dict[str, Any]


class Step(NamedTuple):
    """One report; `viewer` numbers the reader of a group message or a story."""

    how: str
    word: str
    viewer: int | None = None


class Journey(NamedTuple):
    """A life of a message: how often it occurs, its steps, the status it ends in.

    The status is written by hand, following decision 4: the tracker is tested against it, so the
    tracker's code does not compute it. `disputed` names the gateways' failures that deliveries by
    the same gateway contradict, as "gateway failure". `chat` is the provider's own kind of chat.
    """

    share: int
    steps: tuple[Step, ...]
    status: Status | None
    disputed: tuple[str, ...] = ()
    chat: str = ""


class Message(Protocol):
    """A simulated message; a provider adds what its items repeat, such as the recipient."""

    @property
    def serial(self) -> int:
        """The number of the message in the simulation."""

    @property
    def id(self) -> str:
        """The id that the provider reports."""

    @property
    def account(self) -> str | None:
        """The account that the body names, None if it names none."""


M = TypeVar("M", bound=Message)
B = TypeVar("B", bound=Hashable)


class Item(NamedTuple, Generic[B]):
    """One item of a body, as an object that becomes JSON.

    Items with equal `batch` may share a body. An item that is not `repeatable` would be another
    message if it came again in another post.
    """

    batch: B
    json: object
    repeatable: bool = True


class Noise(NamedTuple, Generic[B]):
    """An item without a message status, and the word under which it is counted as ignored."""

    item: Item[B]
    ignored: str


class Flaw(NamedTuple):
    """A field with a wrong value, or `ABSENT`, and the code of the dead letter."""

    field: str
    value: object
    code: str


class Malformed(NamedTuple):
    """A correct item and the flaws that make it a dead letter, one at a time."""

    correct: JsonObject
    flaws: tuple[Flaw, ...]


class Request(NamedTuple):
    """An HTTP request to `/webhooks/<source><path>`; `headers` come in addition to JSON's."""

    body: bytes
    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class Simulator(ABC, Generic[M, B]):
    """How a provider's traffic is simulated.

    `journeys` are the lives of its messages. `meaning` maps its words to statuses, by hand from its
    documents; any other word is unknown. `delays` are the mean seconds before a step, by word.
    """

    journeys: ClassVar[tuple[Journey, ...]]
    meaning: ClassVar[Mapping[str, Status]]
    delays: ClassVar[Mapping[str, float]] = MappingProxyType({})

    @abstractmethod
    def message(self, random: Random, serial: int, journey: Journey) -> M:
        """Draw a message with its ids and its recipient."""

    @abstractmethod
    def item(self, random: Random, message: M, step: Step, at: int, viewer: str | None) -> Item[B]:
        """Return the item that reports a step; `at` is Unix seconds, `viewer` a phone number."""

    @abstractmethod
    def body(self, random: Random, batch: B, items: Sequence[bytes]) -> bytes:
        """Return a body of items that share a batch, each as JSON."""

    def request(self, random: Random, batch: B, body: bytes) -> Request:
        """Return the request that carries a body."""
        del random, batch
        return Request(body)

    def gateway(self, step: Step) -> str:
        """Return the gateway whose status a step reports."""
        return step.how

    def noise(self, random: Random, message: M, at: int) -> Noise[B] | None:
        """Draw an item without a message status, now and then; `at` is Unix seconds."""
        del random, message, at
        return None

    def malformed(self, batch: B) -> Malformed | None:
        """Return a malformed item that may share a batch; None: only whole bodies are malformed."""
        del batch
        return None


def journey(
    share: int, steps: str, status: Status | None, *disputed: str, chat: str = ""
) -> Journey:
    """Return a journey whose steps are written as `<how> <word>[ by <viewer>], …`."""
    return Journey(share, tuple(map(_step, steps.split(", "))), status, disputed, chat)


def number(random: Random) -> str:
    """Draw a phone number that no person has, in international form without the plus."""
    if not random.randrange(5):
        return f"120255501{random.randrange(100):02}"
    return f"447700900{random.randrange(1, 1000):03}"


def uuid(random: Random) -> str:
    """Draw a random UUID."""
    return str(UUID(int=random.getrandbits(128), version=4))


def _step(text: str) -> Step:
    how, word, *viewer = text.replace(" by ", " ").split()
    return Step(how, word, int(viewer[0]) if viewer else None)
