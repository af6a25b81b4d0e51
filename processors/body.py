"""A webhook's body as bytes: its limits, and cutting it into verbatim slices. Pure.

JSON is never parsed here for what it says: a slice is judged by whoever reads it, alone, so that
one bad item takes no neighbour with it.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from processors.refusal import Refused

MAX_DEPTH = 64
MAX_ITEMS = 10_000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"

# A string that never ends goes on to the end of the body: looked for again after each of its
# escaped quotes it would cost quadratic time.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_AS_PARENTHESES = bytes.maketrans(b"[]{}", b"()()")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

# Numbers stay text: a long one would cost quadratic time, or be refused, as an int.
_lenient = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
_pairs = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, object_pairs_hook=list)
_space = re.compile(r"[ \t\r\n]*").match

# The letters of our field names can also be written as escapes, "\u0069d" for "id".
_ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")


def checked(body: bytes) -> bytes:
    """The body without byte order mark or white space around it; `Refused` if over a limit."""
    # RFC 8259, 8.1: a parser may ignore a byte order mark.
    text = body.removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    if not text:
        raise Refused("empty_body", "the body is empty")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"the body is not UTF-8: {error.reason}") from None
    _refuse_depth(text)
    return text


def _refuse_depth(text: bytes) -> None:
    """Refuse nesting deeper than `MAX_DEPTH`, in linear time and without recursion."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", text).translate(_AS_PARENTHESES, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if b"()" not in brackets:
            break
        brackets = brackets.replace(b"()", b"")
    if b"()" in brackets:
        raise Refused("too_deep", f"the body is nested deeper than {MAX_DEPTH} levels")
    if brackets:
        raise Refused("not_json", "the body is not JSON: its brackets do not match")


class Once:
    """Refuses an object that says one of these fields twice: either could be the true one."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        # White space may also stand behind a value, which is then looked at for nothing.
        self._keys = re.compile(rb'"(' + "|".join(names).encode() + rb')"[:\s]')

    def __call__(self, text: bytes, deeper: int = 0) -> None:
        """Look closely, which is slow, only where a name seems to be a key twice at any depth.

        `deeper` is how many of the names are known to be keys inside a member as well.
        """
        keys = self._keys.findall(text)
        if len(keys) > len(set(keys)) + deeper or _spelt_oddly(text):
            self._refuse_repeated(_pairs.decode(text.decode()))

    def _refuse_repeated(self, pairs: list[tuple[str, object]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise Refused("duplicate_key", f"`{name}` is there more than once")
            if name in self._names:
                seen.add(name)


def _spelt_oddly(text: bytes) -> bool:
    # A single byte is found quickest, and most texts have no escape at all.
    return b"\\" in text and b"\\u00" in text and _ESCAPED_LETTER.search(text) is not None


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array, verbatim."""
    try:
        slices = [bytes(element) for element in _elements.decode(text)]
    except (msgspec.DecodeError, RecursionError):
        # NaN or half a surrogate pair anywhere: cut carefully, and let each item be judged.
        slices = list(islice(_walk_array(text.decode()), MAX_ITEMS + 1))
    refuse_count(len(slices))
    return slices


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object, verbatim, in their order; of equal keys the last one."""
    try:
        return {name: bytes(value) for name, value in _members.decode(text).items()}
    except (msgspec.DecodeError, RecursionError):
        found = list(islice(_walk_object(text.decode()), MAX_ITEMS + 1))
    refuse_count(len(found))
    return dict(found)


def refuse_count(count: int) -> None:
    """Refuse a body of more than `MAX_ITEMS` items."""
    if count > MAX_ITEMS:
        raise Refused("too_many_items", f"the body has more than {MAX_ITEMS} items")


def refuse_unless_json(text: bytes) -> None:
    """Refuse what is not JSON, NaN and Infinity apart."""
    _, end = _value(text.decode(), 0)
    _expect_end(text.decode(), end)


def _walk_array(text: str) -> Iterator[bytes]:
    at = _after_space(text, 1)
    if text.startswith("]", at):
        _expect_end(text, at + 1)
        return
    while True:
        start, end = _value(text, at)
        yield text[start:end].encode()
        at = _after_space(text, end)
        if not text.startswith(",", at):
            break
        at += 1
    _expect(text, at, "]")
    _expect_end(text, at + 1)


def _walk_object(text: str) -> Iterator[tuple[str, bytes]]:
    at = _after_space(text, 1)
    if text.startswith("}", at):
        _expect_end(text, at + 1)
        return
    while True:
        start, end = _value(text, at)
        _expect(text, start, '"')
        colon = _after_space(text, end)
        _expect(text, colon, ":")
        name = _lenient.decode(text[start:end])
        start, end = _value(text, colon + 1)
        yield name, text[start:end].encode()
        at = _after_space(text, end)
        if not text.startswith(",", at):
            break
        at += 1
    _expect(text, at, "}")
    _expect_end(text, at + 1)


def _value(text: str, at: int) -> tuple[int, int]:
    """Where the value at or after `at` starts and ends."""
    start = _after_space(text, at)
    try:
        _, end = _lenient.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _not_json(error.pos) from None
    return start, end


def _after_space(text: str, at: int) -> int:
    found = _space(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, wanted: str) -> None:
    if not text.startswith(wanted, at):
        raise _not_json(at)


def _expect_end(text: str, at: int) -> None:
    if _after_space(text, at) != len(text):
        raise _not_json(at)


def _not_json(at: int) -> Refused:
    return Refused("not_json", f"the body is not JSON: see its character {at}")
