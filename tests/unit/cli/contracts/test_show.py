"""`bluetick schemas`: what the commands print."""

import json

import pytest
from typer.testing import CliRunner

from cli.commands.schemas import group
from cli.contracts.show import lines
from schemas.contract import KINDS
from service.errors import Problem
from tests import HOME

PUBLISHED = HOME / "schemas/published/1"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(group, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_schema_is_printed_as_it_is_published() -> None:
    """By the name of the record; headers have schemas, too."""
    for name in ("status", "dead-letter-headers"):
        assert printed("show", name) == (PUBLISHED / f"{name}.schema.json").read_text()


def test_an_example_is_printed_as_it_is_published() -> None:
    """Topic, key, headers and value."""
    text = printed("show", "stalled", "--example")
    assert text == (PUBLISHED / "examples/stalled.json").read_text()
    assert json.loads(text)["value"]["event"] == "stalled"


def test_without_a_name_all_are_listed() -> None:
    """Every kind has an example, and a schema for its value or its headers."""
    assert printed("show", "--example").split() == [kind.name for kind in KINDS]
    assert {"status", "published-headers"} < set(printed("show").split())


def test_an_unknown_record_is_one_sentence() -> None:
    """The sentence lists the records that there are."""
    with pytest.raises(Problem, match=r"no record 'statuses'; the records are: .*status, "):
        list(lines("statuses", example=False))


def test_the_dictionary_is_the_page() -> None:
    """The printed page is docs/data-dictionary.md."""
    assert printed("dictionary") == (HOME / "docs/data-dictionary.md").read_text()
