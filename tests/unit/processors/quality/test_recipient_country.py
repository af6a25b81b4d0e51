"""The country of a number."""

from functools import cache
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneNumberType,
    example_number_for_type,
    national_significant_number,
    parse,
    region_code_for_number,
)

from processors.quality.recipient_country import country_of


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("420777000001", "CZ"),
        ("421905000001", "SK"),
        # Calling codes that several countries share.
        ("447700900123", "GB"),
        ("447911123456", "GG"),
        ("12025550123", "US"),
        ("14165550123", "CA"),
        ("77012345678", "KZ"),
        ("79161234567", "RU"),
        ("3906698123", "VA"),
        # Of no known range: the main country of the code.
        ("44", "GB"),
        ("870773111632", "001"),
        ("999123456", None),
        ("0420777000001", None),
        ("h1:a:0123456789abcdef0123456789abcdef", None),
        ("120363044444444444@g.us", None),
        ("٤٢٠", None),
        ("", None),
        (None, None),
    ],
)
def test_country(number: str | None, country: str | None) -> None:
    assert country_of(number) == country


@cache
def _examples() -> list[str]:
    """A number of each kind that phonenumbers knows, of each region of each shared code."""
    shared = (one for one in COUNTRY_CODE_TO_REGION_CODE.values() if len(one) > 1)
    found = {
        f"{example.country_code}{national_significant_number(example)}"
        for region in chain.from_iterable(shared)
        for kind in PhoneNumberType.values()
        if (example := example_number_for_type(region, kind))
    }
    return sorted(found)


def _by_phonenumbers(number: str) -> str | None:
    try:
        parsed = parse(f"+{number}")
    except NumberParseException:
        return None
    return region_code_for_number(parsed)


@st.composite
def _numbers(draw: st.DrawFn) -> str:
    """Numbers of shared codes: an example cut anywhere, and any digits after it."""
    digits = st.text("0123456789", max_size=18)
    code = st.sampled_from([one for one, of in COUNTRY_CODE_TO_REGION_CODE.items() if len(of) > 1])
    number = draw(st.sampled_from(_examples()) | st.builds("{}{}".format, code, digits))
    kept = draw(st.integers(1, len(number)))
    return number[:kept] + draw(
        st.text("0123456789", min_size=len(number) - kept, max_size=len(number) - kept) | digits
    )


@given(number=_numbers())
@example(number="7870928465651703239")  # too long, unless without the prefix 8
@example(number="4401624200000")
def test_a_number_of_a_shared_code_is_where_phonenumbers_says(number: str) -> None:
    codes = [one for one in COUNTRY_CODE_TO_REGION_CODE if number.startswith(str(one))]
    if codes:
        main = COUNTRY_CODE_TO_REGION_CODE[min(codes)][0]
        assert country_of(number) == (_by_phonenumbers(number) or main)


def test_each_region_of_a_shared_code_has_a_number() -> None:
    found = {country_of(number) for number in _examples()}
    assert found >= {"GB", "GG", "IM", "JE", "US", "CA", "JM", "RU", "KZ", "AU", "CX", "VA"}
    for number in _examples():
        assert country_of(number) == _by_phonenumbers(number)
