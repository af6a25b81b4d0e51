"""The accounts that a source may report on: patterns, matching, and the header of raw records.

A pattern is the name of an account, with `*` for any number of characters and `?` for one.
`None` instead of patterns means every account. Pure.
"""

from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

Patterns = tuple[str, ...]

# The account in a message key if the provider has none.
NO_ACCOUNT = "-"

ACCOUNTS_HEADER = "source-accounts"

_WILD = frozenset("*?")
_decoder = msgspec.json.Decoder(tuple[str, ...])


def is_wild(pattern: str) -> bool:
    """Whether a pattern may match several accounts."""
    return not _WILD.isdisjoint(pattern)


def only(patterns: Patterns | None) -> str | None:
    """Return the account if there is exactly one pattern and it is a plain name; else None."""
    if patterns is None or len(patterns) != 1 or is_wild(patterns[0]):
        return None
    return patterns[0]


@lru_cache(maxsize=4096)  # few accounts, each in many webhooks
def matches(patterns: Patterns, account: str) -> bool:
    """Whether one of the patterns matches the account; case matters."""
    return any(fnmatchcase(account, pattern) for pattern in patterns)


@lru_cache(maxsize=1024)
def encode_patterns(patterns: Patterns) -> bytes:
    return msgspec.json.encode(patterns)


@lru_cache(maxsize=1024)
def decode_patterns(value: str) -> Patterns:
    """Return the patterns in a header; () if it is invalid, which matches no account."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError:
        return ()
