"""Observations that tracking sets aside: the reasons, and their dead letters. Pure."""

from typing import NamedTuple, Protocol, Self, get_args

from processors.dead_letters.record import OBSERVED, REPLAY, Headers, headers
from processors.tracking.lifecycle.verdicts import PastBound
from providers.contract import DeadLetter
from providers.rejection import Code, calls
from schemas.bounds import Bounds
from schemas.codec import encode
from schemas.coordinates import Coordinates, at
from schemas.records import Observation

PAST_BOUND: frozenset[str] = frozenset(get_args(PastBound))


class Observed(Protocol):
    """The attributes of a record of `observations` that are used here."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class SetAside(NamedTuple):
    """Why an observation, or all observations of a message in a batch, cannot be tracked.

    A `valueless` dead letter has the coordinates alone.
    """

    code: Code
    reason: str
    exception: str = ""
    stacktrace: str = ""
    valueless: bool = False

    @classmethod
    def refused(cls, why: str, *, again: bool) -> Self:
        """Kafka refuses the records of one message; `again`: even its dead letter with a value."""
        return cls("too_large", why, valueless=again)

    @classmethod
    def past_bound(cls, code: PastBound, bounds: Bounds) -> Self:
        """The state of the message has reached a bound."""
        match code:
            case "too_many_attempts":
                return cls(code, f"the message has more than {bounds.attempts} gateways")
            case "too_many_words":
                return cls(code, f"a gateway has more than {bounds.words} unknown statuses")
            case "too_many_replies":
                return cls(code, f"the message has more than {bounds.replies} replies")

    @classmethod
    def unforeseen(cls, error: Exception) -> Self:
        """A defect in Bluetick; the error's own text may quote personal data."""
        kind = type(error)
        return cls(
            "internal_error",
            f"tracking it raised {kind.__name__}; please report this",
            f"{kind.__module__}.{kind.__qualname__}",
            calls(error),
        )

    @classmethod
    def state_unreadable(cls, why: str) -> Self:
        return cls("state_unreadable", f"the stored state of its message cannot be read: {why}")

    @classmethod
    def state_too_large(cls, size: int, bounds: Bounds) -> Self:
        return cls(
            "state_too_large", f"its message's state would be {size} bytes, above {bounds.state}"
        )


class Letter(NamedTuple):
    """A dead letter of tracking; `key` is the record's, "" if it has none.

    `raw` has the coordinates of the raw body (of the observation, if that cannot be read),
    `observed` those of the observation. `timestamp` is the time of reception, Unix ms; `replay` the
    id of the replay that published the observation.
    """

    key: str
    letter: DeadLetter
    raw: Coordinates
    observed: Coordinates
    timestamp: int
    provider: str
    replay: str | None

    @property
    def past_bound(self) -> bool:
        """Whether the only cause is that the sender's data exceeds a bound."""
        return self.letter.code in PAST_BOUND


def headers_of(letter: Letter) -> Headers:
    """Return the record headers: those of a body's dead letter, then the observation's place."""
    observed = "/".join(map(str, letter.observed))
    more = [(OBSERVED, observed.encode())]
    if letter.replay is not None:
        more.append((REPLAY, letter.replay.encode()))
    return headers(letter.letter, letter.raw, letter.timestamp, more)


def letter_of(record: Observed, observation: Observation, why: SetAside) -> Letter:
    """Return the dead letter of an observation; its pointer is `#` and the item's number."""
    raw = observation.raw
    origin = at(raw)
    if raw.partition < 0 or raw.offset < 0:
        origin = at(record)  # another program wrote it
    return Letter(
        _key(record),
        _dead_letter(encode(observation), f"#{raw.index}", why),
        origin,
        at(record),
        observation.received_at,
        observation.provider,
        observation.replay,
    )


def unreadable_record(record: Observed, why: str, aside: SetAside | None) -> Letter:
    """Return the dead letter of a record that is not an observation: another program wrote it.

    `aside` is the reason why records with its key are set aside already, if they are.
    """
    valueless = aside is not None and aside.valueless
    unreadable = SetAside("not_an_observation", why, valueless=valueless)
    letter, place = _dead_letter(record.value or b"", "", unreadable), at(record)
    return Letter(_key(record), letter, place, place, 0, "", None)


def _dead_letter(value: bytes, pointer: str, why: SetAside) -> DeadLetter:
    return DeadLetter(
        code=why.code,
        reason=why.reason,
        value=b"" if why.valueless else value,
        pointer=pointer,
        exception=why.exception,
        stacktrace=why.stacktrace,
    )


def _key(record: Observed) -> str:
    return (record.key or b"").decode("utf-8", "replace")
