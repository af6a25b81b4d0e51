"""What the derived topics hold of personal data: the policy, its keys, and keyed hashes. Pure.

`BLUETICK_PRIVACY` is the policy of a namespace, `BLUETICK_PRIVACY_KEY` has its keys. A hash is
`h1:<key id>:<32 hexadecimal digits>`, half of an HMAC-SHA256. A value is hashed with the key that
was in use when its webhook was received, so a replay gives the same hash as the first pass.
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, get_args

Numbers = Literal["keep", "hash", "omit"]
Texts = Literal["keep", "omit"]

HASHED = "h1"
"""The first part of a hash: the name of its form."""

_DIGITS = 32
_SHORTEST = 16  # characters of a secret
_ID = re.compile(r"[A-Za-z0-9]{1,16}", re.ASCII)


class Policy(NamedTuple):
    """What happens to each kind of personal data (schemas/field_notes.py marks the fields)."""

    numbers: Numbers = "keep"
    texts: Texts = "keep"
    payload: Texts = "keep"

    @property
    def keeps_all(self) -> bool:
        return self == KEEP

    @property
    def needs_key(self) -> bool:
        """Whether something is hashed: ids that are made from numbers and texts are, too."""
        return self.numbers != "keep" or self.texts != "keep"

    def __str__(self) -> str:
        named = [f"{name}:{choice}" for name, choice in self._asdict().items() if choice != "keep"]
        return ",".join(named) or "keep"


KEEP = Policy()

_CHOICES: dict[str, tuple[str, ...]] = {
    "numbers": get_args(Numbers),
    "texts": get_args(Texts),
    "payload": get_args(Texts),
}


class Key(NamedTuple):
    """A key for hashes, in use from `since` on (Unix milliseconds)."""

    id: str
    since: int
    secret: str


class Privacy(NamedTuple):
    """A policy and its keys, the newest first."""

    policy: Policy = KEEP
    keys: tuple[Key, ...] = ()

    def at(self, received_at: int) -> Key:
        """Return the key that was in use at a time."""
        return next((key for key in self.keys if key.since <= received_at), self.keys[-1])


NO_PRIVACY = Privacy()


def hashed(key: Key, *parts: str) -> str:
    """Return the hash of a value and its context."""
    digest = hmac.digest(key.secret.encode(), "\0".join(parts).encode(), "sha256")
    return f"{HASHED}:{key.id}:{digest.hex()[:_DIGITS]}"


def hashed_number(key: Key, number: str) -> str:
    """Return the hash of a phone number, a group or a name: equal ones have equal hashes."""
    return hashed(key, "number", number)


def hashed_viewer(key: Key, viewer: str, message_key: str) -> str:
    """Return a hash of a viewer that is another one for each message."""
    return hashed(key, "viewer", message_key, viewer)


def hashed_id(key: Key, message_id: str) -> str:
    """Return the hash of a message id that is made from personal data."""
    return hashed(key, "id", message_id)


def policy_of(text: str) -> Policy:
    """Parse a policy, `numbers:hash,texts:omit`; `ValueError` says what is wrong."""
    chosen: dict[str, str] = {}
    if text.strip() == str(KEEP):
        return KEEP
    for part in text.split(","):
        name, colon, choice = (one.strip() for one in part.partition(":"))
        if not colon or name not in _CHOICES:
            raise ValueError(f"{part.strip()!r} is none of {', '.join(_CHOICES)} with a choice")
        if choice not in _CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(_CHOICES[name])}, not {choice!r}")
        if name in chosen:
            raise ValueError(f"{name} is there twice")
        chosen[name] = choice
    return Policy(**chosen)  # type: ignore[arg-type]


def keys_of(text: str) -> tuple[Key, ...]:
    """Parse keys, `<id>[@<since>]=<secret>` with space or a comma between, to the newest first.

    `ValueError` says what is wrong, without a secret.
    """
    keys = sorted(map(_key, re.split(r"[,\s]+", text.strip(", \r\n\t"))), key=_age)
    if len({key.id for key in keys}) < len(keys):
        raise ValueError("two keys have one id")
    if len({key.since for key in keys}) < len(keys):
        raise ValueError("each key but the oldest needs a time of its own: <id>@<since>=<secret>")
    return tuple(keys)


def _age(key: Key) -> int:
    return -key.since


def _key(text: str) -> Key:
    head, equals, secret = text.partition("=")
    id_, at, since = head.partition("@")
    if not equals or not _ID.fullmatch(id_):
        raise ValueError("a key has the form <id>=<secret>, the id 1 to 16 letters and digits")
    if len(secret) < _SHORTEST:
        raise ValueError(f"the secret of the key {id_} is shorter than {_SHORTEST} characters")
    return Key(id_, _time(id_, since) if at else 0, secret)


def _time(id_: str, text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"the key {id_} has no time such as 2026-05-01T12:00Z after the @")
    return round(time.timestamp() * 1000)


def all_hashes(keys: Sequence[Key], number: str, message_key: str) -> set[str]:
    """Return every form in which the derived topics may hold a number."""
    both = {hashed_number(key, number) for key in keys}
    return both | {hashed_viewer(key, number, message_key) for key in keys} | {number}
