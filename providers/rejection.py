"""Why a body or an item is not normalised: the closed list of codes, and the exception. Pure."""

import traceback
from typing import Literal

# The codes of dead letters. The first group is about a whole body, the second about one item, the
# third about an observation that cannot be tracked.
Code = Literal[
    "unknown_provider",
    "bad_encoding",
    "empty_body",
    "not_utf8",
    "too_deep",
    "too_many_items",
    "too_costly",
    "source_stopped",
    "wrong_root",
    "not_json",
    "not_unicode",
    "missing_field",
    "wrong_type",
    "bad_value",
    "duplicate_key",
    "not_finite",
    "foreign_account",
    "too_large",
    "too_many_bad_items",
    "too_long",
    "internal_error",
    "not_an_observation",
    "too_many_attempts",
    "too_many_words",
    "too_many_replies",
    "state_unreadable",
    "state_too_large",
]

CODES: dict[Code, str] = {
    "unknown_provider": "No provider of that name is built in.",
    "bad_encoding": "Its Content-Encoding cannot be decoded, or the result is too large.",
    "empty_body": "Nothing, or white space only.",
    "not_utf8": "The bytes are not UTF-8, the only encoding JSON travels in (RFC 8259, 8.1).",
    "too_deep": "Arrays and objects are nested deeper than 64 levels.",
    "too_many_items": "More than 10 000 items in one body.",
    "too_costly": "It holds too many values, or it or its message takes too much CPU time.",
    "source_stopped": "Too many bodies of its source were dead letters; it was not looked at.",
    "wrong_root": "JSON, but not of a shape this provider sends.",
    "not_json": "Not JSON at all; also an item that only a lenient reader could split off.",
    "not_unicode": "A string holds half a surrogate pair, which no UTF-8 text can hold.",
    "missing_field": "A required field is absent or null.",
    "wrong_type": "A field is of another JSON type than it should be.",
    "bad_value": "A field is of the right type and out of its range.",
    "duplicate_key": "A field that matters is there more than once.",
    "not_finite": "NaN, Infinity, or a number too large for a double, in what would be kept.",
    "foreign_account": "An account that its source does not have.",
    "too_large": "Its result is too large for a topic.",
    "too_many_bad_items": "A bad item after the first 100 dead letters of a body.",
    "too_long": "An id, a gateway, a viewer or a status is longer than its bound.",
    "internal_error": "A defect of Bluetick; the reason names the exception.",
    "not_an_observation": "A record of `observations` that Bluetick did not write.",
    "too_many_attempts": "More gateways for one message than its bound.",
    "too_many_words": "More unknown statuses by one gateway than their bound.",
    "too_many_replies": "More replies to one message than their bound.",
    "state_unreadable": "The stored state of its message cannot be read.",
    "state_too_large": "The state of its message would exceed its bound.",
}

_CALLS = 20


class Refused(Exception):
    """A body or an item cannot be normalised. The reason quotes no value: it may be personal."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code: Code = code
        self.reason = reason


def calls(error: BaseException) -> str:
    """Return the innermost calls of a traceback, one a line; without message and source lines."""
    found = [
        f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return "\n".join(found[-_CALLS:])
