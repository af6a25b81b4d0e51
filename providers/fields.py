"""Common parts of the providers' readers: lenient reading, times, phone numbers, refusals. Pure.

A fact that cannot be read makes its item a dead letter. Any other unreadable field is left out and
its name is kept (`Unread`); decision 6 lists the fields that are facts.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import (
    Annotated,
    Any,
    NoReturn,
    Required,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from msgspec.structs import replace
from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import is_typeddict

from providers import json_slices
from providers.contract import Ignored, Item, Outcomes, Read
from providers.rejection import Code, Refused
from schemas.records import Observation

T = TypeVar("T")

# Long enough for any provider's id, short enough for a key.
MAX_ID = 512
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]

# A time before 2000, or this long after its reception, is wrong.
_EARLIEST = 946_684_800_000
_AHEAD = 24 * 60 * 60 * 1000

_SECONDS, _MILLISECONDS, _MICROSECONDS = 10**11, 10**12, 10**15
_USUAL, _LONGEST = 10, 16  # digits
_DECIMAL = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,20})?")
_WORD_BITS = 32

# Separators between the digits of a phone number: spaces, direction marks, dashes, and so on.
_SEPARATORS = re.compile(
    "[\\s\u00ad\u200b-\u2015\u202a-\u202e\u2060-\u2069\u2212\ufeff\uff0d()./-]"
)
_NUMBER = re.compile(r"\+?[0-9]+")
_INTERNATIONAL = re.compile(r"00[1-9][0-9]{6,14}")  # ITU-T E.164: 15 digits at most
_NOT_A_WORD = re.compile(r"[^\w.@ -]")

# Pydantic's types of errors that have a dead letter code of their own.
_CODES: dict[str, Code] = {"missing": "missing_field", "finite_number": "not_finite"}

_ALWAYS_FINITE = frozenset({str, int, bool, type(None)})

# Replaces an unreadable value of an open payload type.
UNREADABLE = object()
_EMPTY = frozenset({b'""', b"null", b"[]", b"{}"})
_MAX_EMPTY = 64


# The unreadable fields of an item, by their names in its payload type, with the reasons.
Unread: TypeAlias = dict[str, Refused]


def missing(name: str, unread: Unread) -> NoReturn:
    """Refuse an item for a fact that is missing or cannot be read."""
    raise unread.get(name) or Refused("missing_field", f"`{name}` is missing or null")


def drop(names: Collection[str], given: Any, unread: Unread) -> None:
    """Leave out the repeated fields of an item: the correct value is unknown."""
    for name in names:
        given.pop(name, None)
        unread[name] = Refused("duplicate_key", f"`{name}` is there more than once")


def reader(shape: type[T]) -> Callable[[bytes], tuple[T, Unread]]:
    """Return a function that reads an item of a payload type, and names the unread fields.

    It validates the item in one pass and, only if that fails, field by field. It refuses an item
    that is no object. The type is a TypedDict: pydantic fills it in half the time of a model.
    """
    validate = TypeAdapter(shape).validator.validate_json
    by_field = _ByField(shape)
    required: frozenset[str] = cast("Any", shape).__required_keys__

    def read(text: bytes) -> tuple[T, Unread]:
        try:
            return validate(text, strict=True), {}
        except ValidationError as error:
            if not text.startswith(b"{"):
                raise _refusal(error) from None
        unread: Unread = {}
        given: Any = by_field.read(text, "", unread)
        for name in required - given.keys() - unread.keys():
            unread[name] = Refused("missing_field", f"`{name}`: field required")
        return given, unread

    return read


def value_reader(adapter: TypeAdapter[T]) -> Callable[[bytes], T]:
    """Return a function that reads an item that is one fact, or refuses it."""
    validate = adapter.validator.validate_json

    def read(text: bytes) -> T:
        try:
            given: T = validate(text, strict=True)
        except ValidationError as error:
            raise _refusal(error) from None
        return given

    return read


class _ByField:
    """Reads an object of a payload type; an unreadable field does not affect the others."""

    def __init__(self, shape: Any) -> None:
        self._open = getattr(shape, "__pydantic_config__", {}).get("extra") == "allow"
        self._validate: dict[str, Callable[..., Any]] = {}
        self._optional: set[str] = set()
        self._nested: dict[str, _ByField] = {}
        for name, hint in get_type_hints(shape, include_extras=True).items():
            kind = get_args(hint)[0] if get_origin(hint) is Required else hint
            self._validate[name] = TypeAdapter(kind).validator.validate_json
            kinds = get_args(kind) or (kind,)
            if type(None) in kinds:
                self._optional.add(name)
            self._nested.update((name, _ByField(one)) for one in kinds if is_typeddict(one))

    def read(self, text: bytes, path: str, unread: Unread) -> dict[str, Any]:
        """Return the readable fields; add the others to `unread`, with `path` in their names."""
        given: dict[str, Any] = {}
        members = json_slices.members_of_item(text)
        if self._open:
            given.update(_others(text, members, self._validate))
        for name, value in members.items():
            if name not in self._validate:
                continue
            try:
                given[name] = self._validate[name](value, strict=True)
            except ValidationError as error:
                if name in self._optional and is_empty(value):
                    continue
                if name in self._nested and value.startswith(b"{"):
                    given[name] = self._nested[name].read(value, f"{path}{name}.", unread)
                else:
                    unread[path + name] = _refusal(error, path + name)
        return given


def is_empty(value: bytes) -> bool:
    """Whether a JSON value is empty; PHP writes an empty object as `[]`."""
    return len(value) <= _MAX_EMPTY and b"".join(value.split()) in _EMPTY


def _others(text: bytes, members: Mapping[str, bytes], declared: Collection[str]) -> dict[str, Any]:
    """Return the members that an open payload type does not declare."""
    whole = _value(text)  # in one pass, if it can be read so
    if isinstance(whole, dict):
        return {name: value for name, value in whole.items() if name not in declared}
    return {name: _value(value) for name, value in members.items() if name not in declared}


def _value(text: bytes) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return UNREADABLE


def _refusal(error: ValidationError, name: str = "") -> Refused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, message = first["type"], first["msg"]
    where = name or ".".join(str(step) for step in first["loc"])
    subject = f"`{where}`" if where else "the item"
    if kind == "json_invalid":
        return _unreadable(message, subject)
    code = _CODES.get(kind) or ("wrong_type" if kind.endswith("_type") else "bad_value")
    return Refused(code, f"{subject}: {message[:1].lower()}{message[1:]}")


def _unreadable(message: str, subject: str) -> Refused:
    """Return the refusal of a text that the lenient splitter accepts and the parser does not."""
    if "hex escape" in message:
        return Refused("not_unicode", f"{subject}: a string holds half a surrogate pair")
    if "number out of range" in message:
        return Refused("bad_value", f"{subject}: an integer has more digits than can be read")
    return Refused("not_json", f"{subject} is not JSON")


def occurred(value: Any, name: str, received_at: int, unread: Unread) -> int | None:
    """Return a time of a provider in Unix milliseconds; None if it is unknown.

    A time that is impossible, compared with the reception (Unix milliseconds), is unread.
    """
    if value is None:
        return None
    latest = received_at + _AHEAD
    if type(value) is str and len(value) == _USUAL and value.isascii() and value.isdecimal():
        value = int(value)
    if type(value) is int and _EARLIEST <= value * 1000 <= latest:
        return value * 1000  # seconds, as nearly always
    try:
        time = milliseconds(value, name)
    except Refused as refusal:
        unread[name] = refusal
        return None
    if _EARLIEST <= time <= latest:
        return time
    unread[name] = Refused("bad_value", f"`{name}` is before 2000, or a day after its reception")
    return None


def milliseconds(value: Any, name: str) -> int:
    """Return Unix milliseconds from seconds, milliseconds (13 digits) or microseconds (16).

    The value is a number, its decimal text, or a 64-bit integer as protobuf.js writes it (Long).
    """
    if type(value) is str:
        value = _from_text(value)
    elif type(value) is dict:
        value = _from_long(value)
    if type(value) is not int and type(value) is not float:
        code: Code = "bad_value" if type(value) is str else "wrong_type"
        raise Refused(code, f"`{name}` should be a Unix time, a number or its digits")
    if -_SECONDS < value < _SECONDS:
        return round(float(value) * 1000) if type(value) is float else int(value) * 1000
    if type(value) is float and not math.isfinite(value):
        raise Refused("not_finite", f"`{name}` should be a finite number")
    if _MILLISECONDS <= value < 10 * _MILLISECONDS:
        return round(value)
    if _MICROSECONDS <= value < 10 * _MICROSECONDS:
        return int(value) // 1000
    raise Refused("bad_value", f"`{name}` should be Unix seconds, milliseconds or microseconds")


def _from_text(text: str) -> int | float | str:
    """Return the number that a text writes in decimal digits; else the text."""
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST:
        return int(text)
    text = text.strip()
    return float(text) if _DECIMAL.fullmatch(text) else text


def _from_long(value: dict[str, Any]) -> int | None:
    """Return the integer in `{low, high, unsigned}`; its halves may be signed."""
    low, high = value.get("low"), value.get("high")
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    if not all(-(2**31) <= half < 2**_WORD_BITS for half in (low, high)):
        return None
    found: int = high * 2**_WORD_BITS + low % 2**_WORD_BITS
    return found


def phone(text: str | None) -> str | None:
    """Return a phone number as digits, without the international prefix (`+`, `00`).

    Any other text, such as an alphanumeric sender, stays as it is.
    """
    if not text:
        return None
    if text.isascii() and text.isdecimal() and not text.startswith("00"):
        return text
    digits = _SEPARATORS.sub("", text)
    if not _NUMBER.fullmatch(digits):
        return text
    digits = digits.removeprefix("+")
    if digits.startswith("00") and _INTERNATIONAL.fullmatch(digits):
        return digits[2:]
    return digits


def refuse_non_finite(value: Any, name: str) -> None:
    """Refuse NaN and infinities anywhere in parsed JSON: they could only be written as null."""
    kind = type(value)
    if kind is dict or kind is list:
        for member in value.values() if kind is dict else value:
            if type(member) not in _ALWAYS_FINITE:
                refuse_non_finite(member, name)
    elif kind is float and not math.isfinite(value):
        raise Refused("not_finite", f"`{name}` holds a number that is not finite")


def noted(observation: Observation, unread: Unread) -> Observation:
    """Return the observation with the names of its item's unreadable fields."""
    return replace(observation, unread=sorted(unread))


def finite(value: T, name: str, unread: Unread) -> T | None:
    """Return the value, or None if a number in it is not finite."""
    if value is None:
        return None
    try:
        refuse_non_finite(value, name)
    except Refused as refusal:
        unread[name] = refusal
        return None
    return value


def word(text: str) -> str:
    """Make a sender's word safe for a log or a label: short, without unusual characters."""
    return _NOT_A_WORD.sub("?", text[:64])


def ignore(event: str) -> Read:
    """Return a reader that only counts its item, under `event`."""
    outcomes: Outcomes = (Ignored(word(event)),)

    def count(_: Item) -> Outcomes:
        return outcomes

    return count
