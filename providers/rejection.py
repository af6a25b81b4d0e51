"""Why a body or an item is not normalised: the closed list of codes, and the exception. Pure."""

import traceback
from typing import Literal

# The codes of dead letters. The first group is about a whole body, the second about one item, the
# third about an observation that cannot be tracked.
Code = Literal[
    "unknown_provider",  # no provider of that name is built in
    "bad_encoding",  # its Content-Encoding cannot be decoded, or the result is too large
    "empty_body",  # nothing, or white space only
    "not_utf8",  # the bytes are not UTF-8, the only encoding JSON travels in (RFC 8259, 8.1)
    "too_deep",  # arrays and objects nested deeper than `body.MAX_DEPTH`
    "too_many_items",  # more than `body.MAX_ITEMS`
    "too_costly",  # it holds more than `body.USUAL`, or it or its message takes too much CPU time
    "source_stopped",  # too many bodies of its source were dead letters; it was not looked at
    "wrong_root",  # JSON, but not of a shape this provider sends
    "not_json",  # not JSON at all; also an item that only a lenient reader could split off
    "not_unicode",  # a string holds half a surrogate pair, which no UTF-8 text can hold
    "missing_field",  # a required field is absent or null
    "wrong_type",  # a field is of another JSON type than it should be
    "bad_value",  # a field is of the right type and out of its range
    "duplicate_key",  # a field that matters is there more than once
    "not_finite",  # NaN, Infinity, or a number too large for a double, in what would be kept
    "foreign_account",  # an account that its source does not have
    "too_large",  # its result is too large for a topic
    "too_many_bad_items",  # a bad item after the first `bounds.Bounds.letters` of a body
    "too_long",  # an id, a gateway, a viewer or a status is longer than its bound
    "internal_error",  # a defect of Bluetick; the reason names the exception
    "not_an_observation",  # a record of `observations` that Bluetick did not write
    "too_many_attempts",  # more gateways than `bounds.Bounds.attempts` for one message
    "too_many_words",  # more unknown statuses than `bounds.Bounds.words` by one gateway
    "too_many_replies",  # more than `bounds.Bounds.replies` for one message
    "state_unreadable",  # the stored state of its message cannot be read
    "state_too_large",  # the state of its message would exceed `bounds.Bounds.state`
]

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
