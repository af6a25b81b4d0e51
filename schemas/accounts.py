"""The accounts a source may speak for: patterns, what they match, and their raw record header.

A pattern is the name of an account, or holds `*` (any characters, also none) and `?` (one of any).
`None` in place of patterns stands for every account. Pure.
"""

from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

Patterns = tuple[str, ...]

# What stands for the account in a message key if there is none.
NO_ACCOUNT = "-"

ACCOUNTS_HEADER = "source-accounts"

_WILD = frozenset("*?")
_decoder = msgspec.json.Decoder(tuple[str, ...])


def is_wild(pattern: str) -> bool:
    """Whether a pattern may match several accounts."""
    return not _WILD.isdisjoint(pattern)


def only(patterns: Patterns | None) -> str | None:
    """The account, if exactly one is named and it is no pattern."""
    if patterns is None or len(patterns) != 1 or is_wild(patterns[0]):
        return None
    return patterns[0]


@lru_cache(maxsize=4096)  # accounts are few, each in a million webhooks
def matches(patterns: Patterns, account: str) -> bool:
    """Whether one of the patterns matches the account, letter by letter, case included."""
    return any(fnmatchcase(account, pattern) for pattern in patterns)


@lru_cache(maxsize=1024)
def encode_patterns(patterns: Patterns) -> bytes:
    return msgspec.json.encode(patterns)


@lru_cache(maxsize=1024)
def decode_patterns(value: str) -> Patterns:
    """The patterns in a header; one that cannot be read names no account."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError:
        return ()
