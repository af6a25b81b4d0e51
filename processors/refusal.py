"""Why a body or an item is not normalised: the closed list of codes, and the exception. Pure."""

from typing import Literal

# Why something is a dead letter. The first group is about a whole body, the second about one item.
Code = Literal[
    "unknown_provider",  # no provider of that name is built in
    "bad_encoding",  # its Content-Encoding cannot be undone, or makes it too large
    "empty_body",  # nothing, or white space only
    "not_utf8",  # the bytes are not UTF-8, the only encoding JSON travels in (RFC 8259, 8.1)
    "too_deep",  # arrays and objects nested deeper than `body.MAX_DEPTH`
    "too_many_items",  # more than `body.MAX_ITEMS`
    "wrong_root",  # JSON, but not of a shape this provider sends
    "not_json",  # not JSON at all; also an item that only a lenient reader could split off
    "not_unicode",  # a string holds half a surrogate pair, which no UTF-8 text can hold
    "missing_field",  # a field the message cannot do without is absent or null
    "wrong_type",  # a field is of another JSON type than it should be
    "bad_value",  # a field is of the right type and out of its range
    "duplicate_key",  # a field that matters is told twice
    "not_finite",  # NaN, Infinity, or a number too large for a double, in what would be kept
    "foreign_account",  # an account that is none of its source's
    "too_large",  # the observation would not fit its topic
    "internal_error",  # a mistake of ours; the reason names the exception
]


class Refused(Exception):
    """A body or an item cannot be normalised. The reason quotes no value: it may be personal."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code: Code = code
        self.reason = reason
