"""Key paths in TOML's notation, and choices as part of a sentence."""

import pytest

from ingest.sources.mistakes import Finding, Keys, either, key_path


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ((), ""),
        (("sources",), "sources"),
        (("sources", "a-b_1", "secrets", 1), "sources.a-b_1.secrets[1]"),
        (("sources", "a.b"), 'sources."a.b"'),
        (("sources", ""), 'sources.""'),
        (("a b", 'c"d', "é\x1b"), '"a b"."c\\"d"."\\u00e9\\u001b"'),
    ],
)
def test_a_key_path_is_written_as_in_toml(keys: Keys, path: str) -> None:
    """It contains no control characters of a terminal."""
    assert key_path(keys) == path


@pytest.mark.parametrize(
    ("choices", "words"),
    [(["a"], '"a"'), (["a", "b"], '"a" or "b"'), (["a", "b", "c"], '"a", "b" or "c"')],
)
def test_choices_are_a_part_of_a_sentence(choices: list[str], words: str) -> None:
    assert either(choices) == words


def test_a_finding_about_the_whole_file_has_no_path() -> None:
    assert str(Finding((), "wrong; do")) == "wrong; do"
    assert str(Finding(("a", 0), "wrong; do")) == "a[0]: wrong; do"
