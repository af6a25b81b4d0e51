"""The country of a number."""

import pytest

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
