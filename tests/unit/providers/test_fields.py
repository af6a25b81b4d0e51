"""Reading a payload type so that no field withholds another: for every provider, also to come."""

import json
from typing import Annotated, Any, Required

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from typing_extensions import TypedDict

from providers.fields import Id, Unread, milliseconds, missing, occurred, phone, reader
from providers.rejection import Refused

HOUR = 3_600_000
NOW = 1_763_900_000_000


class Inner(TypedDict, total=False):
    """A nested object."""

    count: Annotated[int, Field(ge=0)] | None
    name: str | None


class Shape(TypedDict, total=False):
    """An item of a provider that does not exist."""

    id: Required[Id]
    note: str | None
    inner: Inner | None
    free: Any


read = reader(Shape)


@pytest.mark.parametrize(
    ("text", "fields", "unread"),
    [
        (b'{"id":"a"}', {"id": "a"}, []),
        (b'{"id":"a","note":5}', {"id": "a"}, ["note"]),
        (b'{"id":"a","note":[],"inner":[ ]}', {"id": "a"}, []),
        (b'{"id":"","note":"b"}', {"note": "b"}, ["id"]),
        (b'{"id":null}', {}, ["id"]),
        (b'{"note":"b"}', {"note": "b"}, ["id"]),
        (
            b'{"id":"a","inner":{"count":-1,"name":"n"}}',
            {"id": "a", "inner": {"name": "n"}},
            ["inner.count"],
        ),
        (b'{"id":"a","inner":{"count":"","name":"n"}}', {"id": "a", "inner": {"name": "n"}}, []),
        (b'{"id":"a","inner":7}', {"id": "a"}, ["inner"]),
        (b'{"id":"a","free":"\\ud800","note":"n"}', {"id": "a", "note": "n"}, ["free"]),
        (b'{"id":"a","free":{"a":[1]},"note":1}', {"id": "a", "free": {"a": [1]}}, ["note"]),
        (b'{"id":"a","other":"\\ud800"}', {"id": "a"}, []),
    ],
)
def test_a_field_is_left_out_alone(text: bytes, fields: dict[str, Any], unread: list[str]) -> None:
    """What cannot be read is named; what is empty and optional is absent."""
    found, left_out = read(text)
    assert (found, sorted(left_out)) == (fields, unread)


@pytest.mark.parametrize("text", [b"[]", b"5", b"null", b'"a"', b"NaN"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """There is nothing to read."""
    with pytest.raises(Refused) as refused:
        read(text)
    assert refused.value.code == "wrong_type"


def test_a_fact_that_is_missing_says_why() -> None:
    """It is absent, or it is what cannot be read."""
    for text, code in ((b"{}", "missing_field"), (b'{"id":5}', "wrong_type")):
        with pytest.raises(Refused, match="`id`") as refused:
            missing("id", read(text)[1])
        assert refused.value.code == code


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["note", "inner", "free"]), json_values)
def test_no_field_withholds_another(name: str, value: Any) -> None:
    """Whatever one field holds, the others are read as without it."""
    whole = {"id": "a", "note": "n", "inner": {"count": 1, "name": "m"}, "free": [1]}
    found, unread = read(json.dumps(whole | {name: value}).encode())
    for other, expected in whole.items():
        if other != name:
            assert found.get(other) == expected
    assert {one.split(".")[0] for one in unread} <= {name}


@given(json_values, st.integers(NOW - 10**12, NOW + 10**12))
def test_a_time_is_near_its_reception_or_none(value: Any, received_at: int) -> None:
    """A time is never before 2000 nor more than a day ahead; what is given and none is named."""
    unread: Unread = {}
    time = occurred(value, "time", received_at, unread)
    assert (time is None and value is not None) == ("time" in unread)
    if time is not None:
        assert 946_684_800_000 <= time <= received_at + 24 * HOUR


@given(st.integers(946_684_800_000, NOW))
def test_a_time_is_the_same_in_every_unit(time: int) -> None:
    """Milliseconds and microseconds, numbers and texts, and the halves of a 64-bit integer."""
    if time >= 10**12:
        low = (time + 2**31) % 2**32 - 2**31
        long = {"low": low, "high": time >> 32, "unsigned": False}
        for value in (time, str(time), float(time), time * 1000 + 999, str(time * 1000), long):
            assert milliseconds(value, "time") == time
    assert milliseconds(time // 1000, "time") == time // 1000 * 1000
    assert milliseconds(f"{time // 1000}.5", "time") == time // 1000 * 1000 + 500


@given(st.text())
def test_a_number_is_digits_or_the_text(text: str) -> None:
    """Nothing between is made of it, and to read it again changes nothing."""
    number = phone(text)
    if number is not None and number != text:
        assert number.isascii()
        assert number.isdecimal()
        assert number in "".join(one for one in text if one.isascii() and one.isdecimal())
    assert phone(number) == number
