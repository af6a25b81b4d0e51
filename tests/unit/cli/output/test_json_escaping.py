"""JSON for terminals: the same value, without control characters."""

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output.json_escaping import as_text
from tests import HOME

# C0, DEL, C1, a line separator, marks and overrides of the writing direction, a tag.
UNSAFE = "\x00\x07\x1b\x7f\x80\x9b\x9f\u2028\u061c\u200e\u200f\u202a\u202e\u2066\u2069\U000e0041"

_TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(UNSAFE)))
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.integers(-(2**63), 2**63 - 1), st.none()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(_TEXTS, inner)),
)


@given(_VALUES)
def test_json_keeps_its_value_and_is_printable(value: Any) -> None:
    """For all texts, in names and values."""
    text = as_text(value)
    assert json.loads(text) == value
    assert text.isprintable()


@pytest.mark.parametrize("char", UNSAFE)
def test_control_characters_are_escaped(char: str) -> None:
    """Each of them alone, spelled as JSON spells it."""
    text = as_text([f"<{char}>"])
    assert char not in text
    assert text.startswith(r'["<\u')


def test_visible_characters_stay() -> None:
    """Letters of any language."""
    assert as_text({"Příliš žluťoučký": "日本 😀"}) == '{"Příliš žluťoučký":"日本 😀"}'


# Other code of commands that encodes JSON, without printing it.
_NOT_PRINTED = {
    "examples.py": "records, which are decoded again",
    "export.py": "the layout of what `as_text` has written",
    "explain.py": "records for `as_line`, which makes them printable",
    "simulate.py": "bodies to send",
    "malformed.py": "bodies to send",
    "processes.py": "settings in an environment",
    "redaction.py": "single words that `printable` has been through",
    "records.py": "a part of what `as_text` writes",
    "parse.py": "a part of what `as_text` writes",
    "json_escaping.py": "the one place",
}


def test_commands_write_json_in_one_way() -> None:
    """No other file of the command line encodes JSON: it could print control characters."""
    encoders = ("json.encode", "json.format", "json.dumps", "orjson.dumps", "codec.encode")
    found = set()
    for path in (HOME / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name.endswith(encoders) or name == "encode":
                    found.add(path.name)
    assert found == set(_NOT_PRINTED)
