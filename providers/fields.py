"""What every provider's reader needs: models, times, phone numbers, refusals. Pure."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import StringConstraints, TypeAdapter, ValidationError

from providers.contract import Ignored, Item, Outcomes, Read
from providers.rejection import Code, Refused

T = TypeVar("T")

# Long enough for any provider's id, short enough for a key.
MAX_ID = 512
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]

LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that ISO 8601 can write

_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]*", re.ASCII)
_NOT_A_DIGIT = re.compile(r"[^0-9]")
_NOT_A_WORD = re.compile(r"[^\w.@ -]")

# Pydantic's words for what is wrong, where the kind of error has no better name of ours.
_CODES: dict[str, Code] = {"missing": "missing_field", "finite_number": "not_finite"}


def reader(adapter: TypeAdapter[T]) -> Callable[[bytes], T]:
    """A function that validates an item in one pass, or refuses it for the first thing wrong.

    It is best of a TypedDict: pydantic fills one in half the time a model takes.
    """
    validate = adapter.validator.validate_json

    def read(text: bytes) -> T:
        try:
            told: T = validate(text, strict=True)
        except ValidationError as error:
            raise _refusal(error) from None
        return told

    return read


def _refusal(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, message = first["type"], first["msg"]
    if kind == "json_invalid":
        return _unreadable(message)
    code = _CODES.get(kind) or ("wrong_type" if kind.endswith("_type") else "bad_value")
    where = ".".join(str(step) for step in first["loc"])
    subject = f"`{where}`" if where else "the item"
    return Refused(code, f"{subject}: {message[:1].lower()}{message[1:]}")


def _unreadable(message: str) -> Refused:
    """The refusal of an item that the careful splitter let through and the parser did not."""
    if "hex escape" in message:
        return Refused("not_unicode", "a string holds half a surrogate pair")
    if "number out of range" in message:
        return Refused("bad_value", "an integer has more digits than can be read")
    return Refused("not_json", "the item is not JSON")


def missing(name: str) -> NoReturn:
    raise Refused("missing_field", f"`{name}` is missing or null")


def milliseconds(value: Any, name: str) -> int | None:
    """Unix milliseconds from Unix seconds: a number or a string of digits; None if not told."""
    if value is None:
        return None
    if type(value) is str:
        if not (value.isascii() and value.isdecimal() and len(value) <= len(str(LAST_SECOND))):
            raise Refused("bad_value", f"`{name}` should be Unix seconds")
        value = int(value)
    elif type(value) is not int and type(value) is not float:
        raise Refused("wrong_type", f"`{name}` should be Unix seconds, a number or its digits")
    if not 0 <= value <= LAST_SECOND:
        code: Code = "bad_value" if math.isfinite(value) else "not_finite"
        raise Refused(code, f"`{name}` should be Unix seconds from 0 to {LAST_SECOND}")
    return round(float(value) * 1000) if type(value) is float else int(value) * 1000


def phone(text: str | None) -> str | None:
    """A phone number as digits alone; anything else, such as an alphanumeric sender, as it is."""
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return text
    trimmed = text.strip()
    return _NOT_A_DIGIT.sub("", trimmed) if _PHONE.fullmatch(trimmed) else text


def refuse_non_finite(value: Any, name: str) -> None:
    """Refuse NaN and infinities anywhere in parsed JSON: we could only write them as null."""
    if isinstance(value, dict):
        for member in value.values():
            refuse_non_finite(member, name)
    elif isinstance(value, list):
        for member in value:
            refuse_non_finite(member, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refused("not_finite", f"`{name}` holds a number that is not finite")


def word(text: str) -> str:
    """A stranger's word, made fit for a log or a label: short, and no odd characters."""
    return _NOT_A_WORD.sub("?", text[:64])


def ignore(event: str) -> Read:
    """A reader that only counts its item, under `event`."""
    outcomes: Outcomes = (Ignored(word(event)),)

    def count(_: Item) -> Outcomes:
        return outcomes

    return count
