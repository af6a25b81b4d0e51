"""The published files are those that the code makes, and a release breaks no consumer."""

import re
from pathlib import Path

import msgspec
import pytest

from cli.contracts import export
from cli.contracts.compatibility import breaches
from cli.contracts.dictionary import page
from cli.contracts.examples import candidates, examples
from cli.contracts.published import versions
from schemas.schema_uri import VERSION
from service.errors import Problem
from tests import HOME

PUBLISHED = HOME / "schemas/published"
MEND = "run `bluetick schemas export schemas/published` (docs/compatibility.md)"


def test_the_published_files_are_those_of_the_code() -> None:
    """Every file of this version is in the repository as the code makes it, and no other."""
    folder = PUBLISHED / str(VERSION)
    found = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    made = export.files()
    assert found == made.keys(), MEND
    changed = [name for name, text in made.items() if (folder / name).read_text() != text]
    assert changed == [], MEND


def test_the_data_dictionary_is_that_of_the_code() -> None:
    """docs/data-dictionary.md is the page that the code makes, with an example of each field."""
    made = {name: [examples()[name], *every] for name, every in candidates().items()}
    text = page(versions(), made)

    mend = "run `bluetick schemas dictionary docs/data-dictionary.md`"
    assert (HOME / "docs/data-dictionary.md").read_text() == text, mend
    assert [line for line in text.splitlines() if line.endswith("| `null` |")] == []
    assert "| next |" not in text, f"a field is not published yet: {MEND}"


def test_links_of_the_data_dictionary_lead_to_its_headings() -> None:
    """A record inside another record has the section of a record."""
    text = (HOME / "docs/data-dictionary.md").read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", text) if link not in anchors} == set()


def test_this_version_breaks_no_consumer_of_an_earlier_one() -> None:
    """The code's schemas keep what each published version promises, this one included."""
    assert max(versions()) == VERSION
    for number, version in versions().items():
        assert breaches(version, export.schemas()) == [], f"version {number}"


def test_an_export_writes_all_files(tmp_path: Path) -> None:
    """It writes into a folder of the version; a second export is the same."""
    for _ in range(2):
        assert export.export(tmp_path) == tmp_path / str(VERSION)
    assert (tmp_path / "1/examples/status.json").is_file()
    assert (tmp_path / "1/types/bluetick.ts").is_file()


def test_an_export_refuses_to_break_consumers(tmp_path: Path) -> None:
    """If the folder has a field that the code has no longer, nothing is written."""
    folder = export.export(tmp_path)
    file = folder / "status.schema.json"
    schema = msgspec.json.decode(file.read_bytes())
    schema["properties"]["mood"] = {"type": "string"}
    file.write_bytes(msgspec.json.encode(schema))
    (folder / "asyncapi.json").unlink()

    with pytest.raises(Problem, match=r"status\.mood: the field was removed"):
        export.export(tmp_path)
    assert not (folder / "asyncapi.json").exists()


def test_an_unwritable_directory_is_one_sentence(tmp_path: Path) -> None:
    """A file in the place of the directory is named."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(Problem, match=r"taken.* cannot be written \("):
        export.export(tmp_path / "taken")
