"""Where keys stand in TOML that is odd, but legal."""

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.toml_positions import Path, lines

_ODD = '''\
# a = 1
a.b = 1   # "
"c d".'e.f' = """
[no.table]
no = "key" \\""" # still
""""

[sources.shop] # [no.table]
secrets = [ # ]
  "a#],", 'b\\',

  ["n", {x = 1, "y".z = [1,
2]}],
]
when = 1979-05-27 07:32:00
[[list]]
k = 1
[list.sub]
q = { }
[[list]]
k=-inf
  [[list.deep]]
  z = [ ]
[ "q\\"x\\u00e9" . y ]
l = \'\'\'
x = 1\'\'\'\'
"" = true'''

_PLACES: dict[Path, int] = {
    ("a",): 2,
    ("a", "b"): 2,
    ("c d",): 3,
    ("c d", "e.f"): 3,
    ("sources",): 8,
    ("sources", "shop"): 8,
    ("sources", "shop", "secrets"): 9,
    ("sources", "shop", "secrets", 0): 10,
    ("sources", "shop", "secrets", 1): 10,
    ("sources", "shop", "secrets", 2): 12,
    ("sources", "shop", "secrets", 2, 0): 12,
    ("sources", "shop", "secrets", 2, 1): 12,
    ("sources", "shop", "secrets", 2, 1, "x"): 12,
    ("sources", "shop", "secrets", 2, 1, "y"): 12,
    ("sources", "shop", "secrets", 2, 1, "y", "z"): 12,
    ("sources", "shop", "secrets", 2, 1, "y", "z", 0): 12,
    ("sources", "shop", "secrets", 2, 1, "y", "z", 1): 13,
    ("sources", "shop", "when"): 15,
    ("list",): 16,
    ("list", 0): 16,
    ("list", 0, "k"): 17,
    ("list", 0, "sub"): 18,
    ("list", 0, "sub", "q"): 19,
    ("list", 1): 20,
    ("list", 1, "k"): 21,
    ("list", 1, "deep"): 22,
    ("list", 1, "deep", 0): 22,
    ("list", 1, "deep", 0, "z"): 23,
    ('q"xé',): 24,
    ('q"xé', "y"): 24,
    ('q"xé', "y", "l"): 25,
    ('q"xé', "y", ""): 27,
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_key_has_its_line(line_end: str) -> None:
    """Whatever looks like a key in a comment or a string is none."""
    text = _ODD.replace("\n", line_end)
    assert lines(text) == _PLACES
    assert set(_paths(tomllib.loads(text))) == set(_PLACES)


_LEAF = st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.just(1.5)
_VALUE = st.recursive(
    _LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), _VALUE, max_size=4), st.sampled_from(["", "# ]\n"]))
def test_no_key_is_missed_or_made_up(document: dict[str, object], after_comma: str) -> None:
    """For any document the keys found are those the parser finds."""
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    text = "".join(
        f"{_string(key)}={_written(value, after_comma)}\n"
        for key, value in document.items()
        if key not in tables
    )
    for name, table in tables.items():
        text += f"[{_string(name)}]\n"
        text += "".join(f"{_string(k)} = {_written(v, after_comma)}\n" for k, v in table.items())
    assert tomllib.loads(text) == document
    assert set(lines(text)) == set(_paths(document))


@given(st.dictionaries(st.text(max_size=3), _LEAF, max_size=6), st.data())
def test_lines_are_counted_through_anything(
    document: dict[str, object], data: st.DataObject
) -> None:
    """Of one pair a line, with blank lines and comments between, each has its own."""
    text, expected = "", {}
    for key, value in document.items():
        text += data.draw(st.sampled_from(["", "\n", "# x = '\n\n"]))
        expected[(key,)] = text.count("\n") + 1
        text += f"{_string(key)} = {_written(value)}\n"
    assert lines(text) == expected


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(value: object, after_comma: str = "") -> str:
    """A value as TOML; in arrays each comma may end its line with a comment."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case list():
            return f"[{f',{after_comma}'.join(_written(one, after_comma) for one in value)}]"
        case dict():
            pairs = (f"{_string(key)} = {_written(one)}" for key, one in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case _:
            return str(value)


def _paths(value: object, above: Path = ()) -> Iterator[Path]:
    entries: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for key, inner in entries:
        yield (*above, key)
        yield from _paths(inner, (*above, key))
