"""What masking leaves of numbers, texts and payloads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.masking import masked, masked_number, masked_value
from console.read_model.results import Page, RawItem, Reply, Viewer

NUMBER = "420777123456"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (NUMBER, "…456"),
        ("12345", "…"),
        ("h1:a:0123456789abcdef0123456789abcdef", "h1:a:0123456789abcdef0123456789abcdef"),
        ("", "…"),
    ],
)
def test_the_end_of_a_number_is_shown(number: str, shown: str) -> None:
    assert masked_number(number) == shown


def test_lists_and_pages_are_masked_inside() -> None:
    viewer = Viewer(NUMBER, "read", 1)
    page = Page([viewer], "next")
    assert masked(page, reveal=False) == Page([Viewer("…456", "read", 1)], "next")
    assert masked([page], reveal=True) == [page]


def test_a_text_shows_its_length_and_the_names_of_its_members() -> None:
    content = {"type": "text", "text": "Hello", "contacts": [{"numbers": [NUMBER]}]}
    reply = Reply("k", False, 1, 1, NUMBER, content, 0, RawItem("t", 0, 0, 0))  # noqa: FBT003
    found = masked(reply, reveal=False)
    assert found.sender == "…456"
    assert found.content == {
        "type": "text of 4 characters",
        "text": "text of 5 characters",
        "contacts": [{"numbers": ["text of 12 characters"]}],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
def test_no_text_and_no_long_number_is_left(value: Any) -> None:
    for one in _scalars(masked_value(value)):
        text = str(one)
        assert not any(
            len(run) >= 6
            for run in "".join(c if c.isascii() and c.isdigit() else " " for c in text).split()
        ) or text.startswith("text of")


def _scalars(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for inner in value.values() for one in _scalars(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in _scalars(inner)]
    return [value]
