"""The columns that the read model takes out of a state, and the terms that find a message. Pure."""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

from processors.tracking.lifecycle.facts import when
from schemas.records import Attempt, MessageState

LONGEST_TERM = 200
"""Characters of the longest payload value by which a message is found."""

MOST_TERMS = 40
"""How many values of one payload a message is found by; the first ones in their order."""

_AS_NUMBER = Struct(">q").unpack

_NUMBER = re.compile(r"\+?[0-9][0-9 ()./-]{4,}", re.ASCII)
_NO_DIGIT = re.compile(r"\D", re.ASCII)


class Leading(NamedTuple):
    """The attempt that gives a message its status, and its gateway."""

    gateway: str
    attempt: Attempt


def leading(state: MessageState) -> Leading | None:
    """Return the attempt that gives the message its status; of several, the most recent one."""
    if len(state.attempts) == 1:
        return Leading(*next(iter(state.attempts.items())))
    return max(
        (Leading(gateway, one) for gateway, one in state.attempts.items()),
        key=lambda one: (
            one.attempt.status == state.status,
            _reached_at(one.attempt),
            one.gateway,
        ),
        default=None,
    )


def _reached_at(attempt: Attempt) -> int:
    """Return when the present status of the attempt was received."""
    facts = attempt.facts.values()
    return max(fact.received_at for fact in facts if fact.status == attempt.status)


class Group(NamedTuple):
    """What messages are filtered by; `stalled` and `contradicted` are 0 or 1."""

    provider: str
    gateway: str
    country: str
    status: str
    stalled: int
    contradicted: int


@lru_cache(maxsize=65_536)
def group_id_of(group: Group) -> int:
    """Return the id of a group, as a signed 64-bit integer."""
    return _hashed("\0".join(map(str, group)))


def began_at(attempt: Attempt) -> int:
    """Return the time of the attempt's first fact, in Unix milliseconds."""
    return min(map(when, attempt.facts.values()))


def term(text: str) -> int:
    """Return the hash of a term, as a signed 64-bit integer; upper and lower case are the same."""
    return _hashed(text.casefold())


def _hashed(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    hashed: int = _AS_NUMBER(digest)[0]
    return hashed


def terms_of_text(text: str) -> set[int]:
    """Return the terms that a searched text means: itself, and its digits if it is a number."""
    text = text.strip()
    digits = digits_of(text)
    return {term(text)} | ({term(digits)} if digits else set())


def digits_of(text: str) -> str:
    """Return a phone number as digits without `+` or `00`; "" if the text is no number."""
    if not _NUMBER.fullmatch(text):
        return ""
    digits = _NO_DIGIT.sub("", text)
    return digits.removeprefix("00")


def terms_of(state: MessageState) -> frozenset[int]:
    """Return the terms by which a message is found; its key is not one of them."""
    texts = [one for one in (state.message_id, state.request_id, state.recipient) if one]
    if state.payload is not None:
        texts += _payload_values(state.payload)
    return frozenset([_hashed(one.casefold()) for one in texts])


def _payload_values(payload: Any) -> Iterator[str]:
    found = 0
    for value in _scalars(payload):
        if len(value) <= LONGEST_TERM:
            yield value
            found += 1
            if found == MOST_TERMS:
                return


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner)
    elif isinstance(value, str):
        if value.strip():
            yield value.strip()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)


def digest_of(first_seen_at: int, terms: Collection[int]) -> int:
    """Return a digest of a message's rows in `terms`, as a signed 64-bit integer."""
    return hash((first_seen_at, *sorted(terms)))
