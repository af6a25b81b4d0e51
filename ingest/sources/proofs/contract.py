"""The contract of a proof: what a source's senders have to show. Pure.

A kind is a frozen pydantic model: its fields are the keys of a source with that `auth`. Judging has
two steps, so that a body is read only once everything but its signature has been checked:

1. Before the body, `check` judges a kind that `needs` the head alone; of a kind that needs the
   body as well, `expects` says whether the head has what `check` will need.
2. With the body, `check` judges a kind that needs it.

A request without proof gets one answer, whatever was wrong. There is room for kinds that sign
the URL or form fields (`Request.url`, `Request.body`), for several signatures in one header,
for keys other than shared secrets (`kept` makes the key of a secret, once, at the start), for times
(`timely`), and for verification handshakes (`handshakes`, `Reply`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ingest.sources.secret_places import Place, listed, place

Headers = Sequence[tuple[bytes, bytes]]
Needs = Literal["head", "head and body"]

# How far the time of a signature may be from ours, either way, in seconds (Standard Webhooks).
TOLERANCE = 300

# Below this a secret can be guessed.
LEAST_BYTES = 16

Secrets = Annotated[
    tuple[Annotated[Place, BeforeValidator(place)], ...],
    BeforeValidator(listed),
    Field(examples=['secrets = ["env:NAME"] or ["file:/path"]']),
]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request as it was sent: nothing is decoded, header names are in lower case.

    `path` is what follows the source in the URL, with the query string. `body` is None before it
    is read.
    """

    method: str
    source: str
    path: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The URL behind the host."""
        return f"/webhooks/{self.source}{self.path}"

    def with_body(self, body: bytes) -> "Request":
        """The same request, its body read."""
        return Request(self.method, self.source, self.path, self.headers, body)

    def only(self, wanted: bytes) -> bytes | None:
        """The value of the only header of that name; None if there is none, or more than one."""
        values = [value for name, value in self.headers if name == wanted]
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """The sender is proven; `path` is stored, without a secret in it."""

    path: str = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The request is a verification handshake: it gets this answer, and nothing is stored."""

    body: bytes = field(repr=False)
    content_type: str = "text/plain"


Verdict: TypeAlias = Proven | Reply | None
"""None: the sender is not proven."""


class Proof(BaseModel):
    """What the senders of one source have to show.

    `handshakes` are the HTTP methods of verification handshakes, in addition to the methods of the
    provider's webhooks: `check` judges such a request by its head, and only a `Reply` answers it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[Needs] = "head"
    handshakes: ClassVar[tuple[str, ...]] = ()

    auth: str

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its secrets are kept."""
        return ()

    @abstractmethod
    def check(self, request: Request, secrets: Sequence[bytes], now: Sequence[int]) -> Verdict:
        """Judge a request; `secrets` are what `kept` made, `now` what clocks show, Unix ms."""

    def expects(self, request: Request) -> bool:
        """Whether a head has what `check` needs, so that the body is worth reading."""
        del request
        return True

    @classmethod
    def weakness(cls, secret: bytes) -> str | None:
        """Why a secret is unfit, as the end of a sentence; None if it is fit."""
        if not secret:
            return "is empty"
        return None if len(secret) >= LEAST_BYTES else f"is shorter than {LEAST_BYTES} bytes"

    def kept(self, secret: bytes) -> bytes:
        """What is kept of a fit secret, to compare or to sign with."""
        return secret


class SecretProof(Proof):
    """A proof by a secret that the sender and Bluetick share."""

    secrets: Secrets

    @property
    def places(self) -> tuple[Place, ...]:
        return self.secrets


def timely(sent_at: int, now: Sequence[int]) -> bool:
    """Whether a time in Unix seconds is about what one of the clocks shows: one may be wrong."""
    return min(abs(clock - sent_at * 1000) for clock in now) <= TOLERANCE * 1000
