"""The country of a phone number, by its first digits. Pure.

Most calling codes are one country's. Some are shared (1, 7, 44, …): there the national number
decides, and a number of no known range counts as the code's main country.
"""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberDesc,
    parse,
    region_code_for_number,
)

# No calling code begins with another one, so their lengths are tried in the order of frequency.
_CODE_LENGTHS = (2, 3, 1)
_REGIONS = {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}
_NATIONAL_DIGITS = range(2, 18)
_TYPES = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)


def country_of(number: str | None) -> str | None:
    """Return the country (ISO 3166-1 alpha-2) of digits without `+`; None if it is unknown.

    `001` is for numbers of no country, such as satellite phones.
    """
    if not number or not (number.isascii() and number.isdigit()):
        return None
    for length in _CODE_LENGTHS:
        code = number[:length]
        if (regions := _REGIONS.get(code)) is not None:
            return regions[0] if len(regions) == 1 else _of_shared_code(code, number) or regions[0]
    return None


def _of_shared_code(code: str, number: str) -> str | None:
    """Return what phonenumbers returns, in a fifth of the time: one pattern of all regions."""
    national = number[len(code) :]
    ranges = _ranges(int(code))
    if ranges.prefix and ranges.prefix.match(national):
        return _by_phonenumbers(number)
    if len(national) not in _NATIONAL_DIGITS:
        return None
    match = ranges.regions.match(national)
    return match.lastgroup if match else None


@lru_cache(maxsize=65_536)
def _by_phonenumbers(number: str) -> str | None:
    try:
        region: str | None = region_code_for_number(parse(f"+{number}"))
    except NumberParseException:
        return None
    return region


class _Ranges(NamedTuple):
    """Patterns of a shared code: the prefix of domestic calls, and a group for each region."""

    prefix: re.Pattern[str] | None
    regions: re.Pattern[str]


@cache
def _ranges(code: int) -> _Ranges:
    names = COUNTRY_CODE_TO_REGION_CODE[code]
    known = [one for one in map(PhoneMetadata.metadata_for_region, names) if one]
    groups = (f"(?P<{one.id}>{_range(one)})" for one in known)
    prefix = known[0].national_prefix_for_parsing
    return _Ranges(re.compile(prefix) if prefix else None, re.compile("|".join(groups)))


def _range(region: PhoneMetadata) -> str:
    """Return the pattern of a region: its leading digits, else those of its kinds of numbers."""
    if region.leading_digits is not None:
        return str(region.leading_digits)
    every = "|".join(_whole(getattr(region, name)) for name in _TYPES)
    return f"(?={_whole(region.general_desc)})(?:{every})"


def _whole(numbers: PhoneNumberDesc | None) -> str:
    """Return a pattern of whole numbers, which nothing matches if there are none."""
    if numbers is None or numbers.national_number_pattern is None:
        return "(?!)"
    return f"{_lengths(numbers)}(?:{numbers.national_number_pattern})\\Z"


def _lengths(numbers: PhoneNumberDesc) -> str:
    lengths = [f"[0-9]{{{one}}}" for one in _known(numbers)]
    if not numbers.possible_length:
        return ""
    return f"(?=(?:{'|'.join(lengths)})\\Z)" if lengths else "(?!)"


def _known(numbers: PhoneNumberDesc) -> Iterator[int]:
    return (one for one in numbers.possible_length if one > 0)
