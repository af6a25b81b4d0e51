"""The country of a phone number, by its first digits. Pure.

Most calling codes are one country's. Some are shared (1, 7, 44, …): there the national number
decides, and a number of no known range counts as the code's main country.
"""

from functools import lru_cache

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    parse,
    region_code_for_number,
)

_LONGEST_CODE = 3


def country_of(number: str | None) -> str | None:
    """Return the country (ISO 3166-1 alpha-2) of digits without `+`; None if it is unknown.

    `001` is for numbers of no country, such as satellite phones.
    """
    if not number or not (number.isascii() and number.isdigit()):
        return None
    codes = (number[:length] for length in range(1, _LONGEST_CODE + 1))
    code = next((one for one in codes if int(one) in COUNTRY_CODE_TO_REGION_CODE), None)
    if code is None or code[0] == "0":
        return None
    regions = COUNTRY_CODE_TO_REGION_CODE[int(code)]
    return regions[0] if len(regions) == 1 else _of_shared_code(number) or regions[0]


@lru_cache(maxsize=65_536)
def _of_shared_code(number: str) -> str | None:
    try:
        region: str | None = region_code_for_number(parse(f"+{number}"))
    except NumberParseException:
        return None
    return region
