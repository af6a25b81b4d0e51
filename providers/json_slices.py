"""A webhook's body as bytes: its limits, and cutting it into verbatim slices. Pure.

This module does not interpret the JSON. The reader of each slice validates it separately, so that
one bad item does not affect the others.
"""

import json
import re
from array import array
from collections.abc import Collection, Iterator
from itertools import accumulate, islice
from typing import NamedTuple

import msgspec

from providers.pausable_work import Steps, finished
from providers.rejection import Refused
from schemas.topics import MAX_BODY

MAX_DEPTH = 64
MAX_ITEMS = 10_000


class Bounds(NamedTuple):
    """The limits of a body, so that normalising it is cheap and is done in short steps.

    Parsing an item is one call that cannot be interrupted. Its cost depends on its values, arrays
    and objects, and on the digits of its long numbers (each takes quadratic time).
    """

    values: int  # in the body; an empty array counts for two
    containers: int  # arrays and objects in the body
    commas: int  # in one item, those of its strings too
    quotes: int  # in one item, escaped ones too
    digits: int  # in one item, of numbers (or in strings) with at least `_LONG_NUMBER` of them


USUAL = Bounds(
    values=300_000, containers=100_000, commas=100_000, quotes=1_000_000, digits=MAX_BODY
)
UNBOUNDED = Bounds(*[2**63] * 5)

_LONG_NUMBER = 400

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r\n"

# A string without an end extends to the end of the body. A search that starts again after each of
# its escaped quotes would take quadratic time.
_A_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_STRING = re.compile(_A_STRING, re.DOTALL)
_SOME_STRINGS = re.compile(rb'(?:[^"]*+' + _A_STRING + rb"){1,1000}+", re.DOTALL)

_A_PIECE = 64 * 1024
_BRACKETS_IN_A_STEP = 64 * 1024
_UP, _DOWN = b"\x01", b"\xff"  # the signed bytes 1 and -1
_AS_STEPS = bytes.maketrans(b"[]{}", _UP + _DOWN + _UP + _DOWN)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DIGITS_AS_ONE = bytes.maketrans(b"0123456789", b"0" * 10)

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

# Numbers stay text: a long one would take quadratic time, or be refused, as an int.
_lenient = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
_pairs = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, object_pairs_hook=list)
_space = re.compile(r"[ \t\r\n]*").match

# The letters of the fields' names can also be written as escapes, "\u0069d" for "id".
_ESCAPED_LETTER = re.compile(rb"\\u00[5-7]")


def checked(body: bytes, bounds: Bounds) -> Steps[bytes]:
    """Return the body without byte order mark and outer white space; refuse it over a limit."""
    text = _trimmed(body)
    if _may_exceed(text, bounds):
        yield
        yield from _measured(text, bounds)
    return text


def checked_at_once(body: bytes, bounds: Bounds) -> bytes:
    """Return the result of `checked` in one step, for a small body."""
    text = _trimmed(body)
    if _may_exceed(text, bounds):
        finished(_measured(text, bounds))
    return text


def _trimmed(body: bytes) -> bytes:
    # RFC 8259, 8.1: a parser may ignore a byte order mark.
    text = body.removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    if not text:
        raise Refused("empty_body", "the body is empty")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"the body is not UTF-8: {error.reason}") from None
    return text


def _may_exceed(text: bytes, bounds: Bounds) -> bool:
    """Whether the text must be measured: it could be nested too deep or hold too much."""
    flat = text.count(b"[") + text.count(b"{") <= MAX_DEPTH
    return not flat or text.count(b",") >= bounds.values - MAX_DEPTH


def _measured(text: bytes, bounds: Bounds) -> Steps[None]:
    """Refuse a text that is nested too deep or holds too much; linear time, no recursion."""
    shape = _Shape(bounds)
    for piece in _pieces(text):
        yield
        bare = _STRING.sub(b"", piece)
        shape.count(bare)
        yield
        brackets = bare.translate(_AS_STEPS, _NO_BRACKETS)
        for at in range(0, len(brackets), _BRACKETS_IN_A_STEP):
            shape.nest(brackets[at : at + _BRACKETS_IN_A_STEP])
            yield
    shape.judge()


class _Shape:
    """The nesting and the counts of a text, as far as it is read."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._values = self._containers = 0
        self._level = self._lowest = self._deepest = 0

    def count(self, bare: bytes) -> None:
        """Count the values of a piece without its strings; an empty array counts for two."""
        containers = bare.count(b"[") + bare.count(b"{")
        self._containers += containers
        self._values += containers + bare.count(b",")
        if self._containers > self._bounds.containers:
            raise _too_much(self._bounds.containers, "arrays and objects")
        if self._values > self._bounds.values:
            raise _too_much(self._bounds.values, "values")

    def nest(self, brackets: bytes) -> None:
        """Update the nesting level with the brackets of a piece."""
        levels = list(accumulate(array("b", brackets), initial=self._level))
        lowest, deepest = min(levels), max(levels)
        self._level = levels[-1]
        self._lowest = min(self._lowest, lowest)
        self._deepest = max(self._deepest, deepest)

    def judge(self) -> None:
        if self._level or self._lowest < 0:
            raise Refused("not_json", "the body is not JSON: its brackets do not match")
        if self._deepest > MAX_DEPTH:
            raise Refused("too_deep", f"the body is nested deeper than {MAX_DEPTH} levels")


def _too_much(bound: int, what: str, where: str = "body") -> Refused:
    return Refused("too_costly", f"the {where} holds more than {bound} {what}")


def refuse_costly(item: bytes, bounds: Bounds) -> None:
    """Refuse an item that would take long to parse."""
    if len(item) <= bounds.commas:
        return
    if item.count(b",") > bounds.commas:
        raise _too_much(bounds.commas, "values", "item")
    if item.count(b'"') > bounds.quotes:
        raise _too_much(bounds.quotes, "quotes", "item")
    if len(item) > bounds.digits:
        long = item.translate(_DIGITS_AS_ONE).count(b"0" * _LONG_NUMBER)
        if long * _LONG_NUMBER > bounds.digits:
            raise _too_much(bounds.digits, "digits in long numbers", "item")


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield a long text in pieces of at most a thousand whole strings; a short one as a whole."""
    if len(text) <= _A_PIECE:
        yield text
        return
    at = 0
    while some := _SOME_STRINGS.match(text, at):
        at = some.end()
        yield some[0]
    yield text[at:]


class Once:
    """Finds which of these fields an object has twice: either value could be the true one."""

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._quoted = [b'"%s"' % name.encode() for name in names]
        # White space may also follow a value; then the match is no key, and only costs time.
        self._keys = re.compile(rb'"(' + "|".join(names).encode() + rb')"[:\s]')

    def __call__(self, text: bytes) -> None:
        """Refuse a body that has one of the fields twice."""
        if not self._may_repeat(text, 0) and not _has_escaped_letter(text):
            return
        for name in self._repeated(_pairs.decode(text.decode())):
            raise Refused("duplicate_key", f"`{name}` is there more than once")

    def repeated(self, text: bytes, deeper: int = 0) -> Collection[str]:
        """Return the repeated fields, in the order in which they are repeated.

        It parses the object, which is slow, only if a name seems to be a key twice at any depth.
        `deeper` is the number of the names that are known to be keys inside a member as well.
        """
        surplus = 0
        for quoted in self._quoted:
            count = text.count(quoted)
            if count > 1:
                surplus += count - 1
        # Nearly always the count is enough to show that no field is repeated.
        if (surplus > deeper and self._may_repeat(text, deeper)) or _has_escaped_letter(text):
            return self._repeated(_pairs.decode(text.decode()))
        return ()

    def _may_repeat(self, text: bytes, deeper: int) -> bool:
        keys = self._keys.findall(text)
        return len(keys) > len(set(keys)) + deeper

    def _repeated(self, pairs: list[tuple[str, object]]) -> Collection[str]:
        seen: set[str] = set()
        repeated: dict[str, None] = {}
        for name, _ in pairs:
            if name in seen:
                repeated[name] = None
            if name in self._names:
                seen.add(name)
        return repeated


def _has_escaped_letter(text: bytes) -> bool:
    # The search for a single byte is fastest, and most texts have no escape.
    return b"\\" in text and b"\\u00" in text and _ESCAPED_LETTER.search(text) is not None


def elements(text: bytes) -> list[bytes]:
    """Return the elements of a JSON array, verbatim."""
    try:
        found = _elements.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # NaN or half a surrogate pair: cut leniently, so that each item is validated alone.
        slices = list(islice(_walk_array(text.decode()), MAX_ITEMS + 1))
        refuse_count(len(slices))
        return slices
    refuse_count(len(found))
    return [bytes(element) for element in found]


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of a body's object, verbatim, in order; of equal keys the last one."""
    found = members_of_item(text)
    refuse_count(len(found))
    return found


def members_of_item(text: bytes) -> dict[str, bytes]:
    """Return the members of an item; if all of it is JSON, their number has no limit."""
    try:
        found = _members.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pairs = list(islice(_walk_object(text.decode()), MAX_ITEMS + 1))
        refuse_count(len(pairs))
        return dict(pairs)
    return {name: bytes(value) for name, value in found.items()}


def refuse_count(count: int) -> None:
    """Refuse a body of more than `MAX_ITEMS` items."""
    if count > MAX_ITEMS:
        raise Refused("too_many_items", f"the body has more than {MAX_ITEMS} items")


def refuse_unless_json(text: bytes) -> None:
    """Refuse a text that is not JSON; NaN and Infinity are allowed."""
    decoded = text.decode()
    _, end = _value(decoded, 0)
    _expect_end(decoded, end)


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
    """Return the start and the end of the value at or after `at`."""
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
