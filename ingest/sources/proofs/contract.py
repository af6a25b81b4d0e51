"""The contract of a kind of proof, by which a source's senders authenticate. Pure.

A kind is a frozen pydantic model: its fields are the keys of a source with that `auth`. Checking
has two steps, so that a body is read only after all other checks have passed:

1. Before the body, `check` decides for a kind that `needs` the head only. For a kind that needs
   the body too, `expects` returns whether the head has the values that `check` needs.
2. With the body, `check` decides for a kind that needs it.

Every request without a valid proof gets the same answer. The contract also supports kinds that sign
the URL or form fields (`Request.url`, `Request.body`), several signatures in one header, keys other
than shared secrets (`kept` makes the key of a secret once, at the start), times (`timely`), and
verification handshakes (`handshakes`, `Reply`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ingest.sources.secret_places import Place, listed, place

Headers = Sequence[tuple[bytes, bytes]]
Needs = Literal["head", "head and body"]

# The largest difference between a signature's time and ingest's, in seconds (Standard Webhooks).
TOLERANCE = 300

# A shorter secret can be guessed.
LEAST_BYTES = 16

Secrets = Annotated[
    tuple[Annotated[Place, BeforeValidator(place)], ...],
    BeforeValidator(listed),
    Field(examples=['secrets = ["env:NAME"] or ["file:/path"]']),
]


class Request(Struct, frozen=True, eq=False, gc=False):
    """A request as it was sent: nothing is decoded, header names are in lower case.

    `path` is the part of the URL after the source, with the query string. `body` is None before
    it is read. The representation may be logged, so it has nothing that a sender wrote.
    """

    method: str
    source: str
    path: str
    headers: Headers
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"Request(method={self.method!r}, source={self.source!r})"

    @property
    def url(self) -> str:
        """The URL after the host."""
        return f"/webhooks/{self.source}{self.path}"

    def with_body(self, body: bytes) -> "Request":
        """Return the same request with its body."""
        return Request(self.method, self.source, self.path, self.headers, body)

    def only(self, wanted: bytes) -> bytes | None:
        """Return the value of the only header with that name; None if there is none or several."""
        values = [value for name, value in self.headers if name == wanted]
        return values[0] if len(values) == 1 else None


class Proven(Struct, frozen=True, eq=False, gc=False):
    """The sender is authenticated; `path` is stored and contains no secret."""

    path: str

    def __repr__(self) -> str:
        return "Proven()"


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The answer to a verification handshake; nothing is stored."""

    body: bytes = field(repr=False)
    content_type: str = "text/plain"


Verdict: TypeAlias = Proven | Reply | None
"""None: the sender is not authenticated."""


class Proof(BaseModel):
    """The proof that the senders of one source must give.

    `handshakes` are the HTTP methods of verification handshakes, in addition to the methods of the
    provider's webhooks. `check` decides on a handshake by its head, and must return a `Reply`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[Needs] = "head"
    handshakes: ClassVar[tuple[str, ...]] = ()

    auth: str

    @property
    def places(self) -> tuple[Place, ...]:
        """The places of its secrets."""
        return ()

    @abstractmethod
    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        """Return the verdict on a request; `secrets` are results of `kept`, `now` is in Unix ms."""

    def expects(self, request: Request) -> bool:
        """Whether a head has the values that `check` needs; if not, the body is not read."""
        del request
        return True

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        """Return why a secret is unfit, as the end of a sentence; None if it is fit."""
        if not secret:
            return "is empty"
        return None if len(secret) >= LEAST_BYTES else f"is shorter than {LEAST_BYTES} bytes"

    def kept(self, secret: bytes) -> bytes:
        """Return the key or digest of a fit secret, to compare or to sign with."""
        return secret


class SecretProof(Proof):
    """A proof by a secret that the sender shares with Bluetick."""

    secrets: Secrets

    @property
    def places(self) -> tuple[Place, ...]:
        return self.secrets


def timely(sent_at: int, now: Sequence[int]) -> bool:
    """Whether a time in Unix seconds is close to the time of any clock: one may be wrong."""
    return min(abs(clock - sent_at * 1000) for clock in now) <= TOLERANCE * 1000
