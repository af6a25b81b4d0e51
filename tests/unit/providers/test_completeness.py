"""Every provider has all its parts; what one lacks is said in words, with what to do."""

import ast
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from cli.up.examples import load
from providers import NAMES, import_provider
from tests import HOME

INVENTED = HOME / "tests/e2e/invented_provider"

# The files of a provider, what each defines, and what that is.
_PARTS = {
    "__init__.py": {},
    "parser.py": {
        "STATUSES": "map the provider's words to statuses",
        "split": "cut a body into its items",
    },
    "proof.py": {"PROOF": "say how the provider proves itself, a ProviderProof"},
    "simulator.py": {"SIMULATOR": "say which lives it simulates, a Simulator"},
}


def lacking(home: Path, name: str, names: tuple[str, ...] = NAMES) -> Iterator[str]:
    """What the provider `name` of a source tree lacks, a sentence each."""
    folder = home / "providers" / name
    where = f"providers/{name}"
    if name not in names:
        yield f"{where} is not in NAMES: add its line to providers/__init__.py"
    for file, members in _PARTS.items():
        if not (folder / file).is_file():
            yield f"{where} has no {file}: add it, see docs/adding-a-provider.md"
            continue
        defined = _defined(folder / file)
        for member, purpose in members.items():
            if member not in defined:
                yield f"{where}/{file} defines no {member}: {purpose}"
    if not list((folder / "examples").glob("*.json")):
        yield f"{where} has no examples/: add at least one documented webhook"
    if not (home / "tests/unit" / where / "test_parser.py").is_file():
        yield f"{where} has no tests/unit/{where}/test_parser.py: add a table of its traps"


def _defined(path: Path) -> set[str]:
    """The names that a module defines at its top level."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {ast.unparse(target) for target in targets}
    return found


def _folders() -> list[str]:
    return sorted(
        path.name
        for path in (HOME / "providers").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    )


@pytest.mark.parametrize("name", sorted({*NAMES, *_folders()}))
def test_a_provider_is_complete(name: str) -> None:
    assert list(lacking(HOME, name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_examples_and_simulator_have_content(name: str) -> None:
    """Examples report statuses, lives have steps, and words mean the same to both."""
    reported = [
        one
        for sample in load()
        if sample.source == name
        for one in sample.expect.observations
        if one.get("status")
    ]
    assert reported, f"no example of {name} expects a status: add a delivery report"
    simulator = import_provider.simulator(name)
    assert simulator.journeys, f"the simulator of {name} has no journeys: add a message's life"
    statuses = import_module(f"providers.{name}.parser").STATUSES
    for word, status in simulator.meaning.items():
        assert statuses.get(word) == status, f"{name}: parser and simulator differ on {word!r}"


def _tree(folder: Path) -> Path:
    """A source tree with the invented provider, complete."""
    shutil.copytree(INVENTED, folder / "providers/invented")
    tests = folder / "tests/unit/providers/invented"
    tests.mkdir(parents=True)
    (tests / "test_parser.py").touch()
    return folder


def test_nothing_is_lacking_in_a_complete_provider(tmp_path: Path) -> None:
    assert list(lacking(_tree(tmp_path), "invented", ("invented",))) == []


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("parser.py", "providers/invented has no parser.py: add it, see docs/adding-a-provider.md"),
        ("proof.py", "providers/invented has no proof.py: add it, see docs/adding-a-provider.md"),
        (
            "simulator.py",
            "providers/invented has no simulator.py: add it, see docs/adding-a-provider.md",
        ),
        (
            "examples/landed.json",
            "providers/invented has no examples/: add at least one documented webhook",
        ),
        (
            "../../tests/unit/providers/invented/test_parser.py",
            (
                "providers/invented has no tests/unit/providers/invented/test_parser.py: add a "
                "table of its traps"
            ),
        ),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, gone: str, sentence: str) -> None:
    tree = _tree(tmp_path)
    (tree / "providers/invented" / gone).unlink()
    assert list(lacking(tree, "invented", ("invented",))) == [sentence]


@pytest.mark.parametrize(
    ("file", "member", "sentence"),
    [
        ("parser.py", "STATUSES", "map the provider's words to statuses"),
        ("parser.py", "split", "cut a body into its items"),
        ("proof.py", "PROOF", "say how the provider proves itself, a ProviderProof"),
        ("simulator.py", "SIMULATOR", "say which lives it simulates, a Simulator"),
    ],
)
def test_a_missing_member_is_named(tmp_path: Path, file: str, member: str, sentence: str) -> None:
    tree = _tree(tmp_path)
    path = tree / "providers/invented" / file
    path.write_text(path.read_text().replace(member, f"other_{member}"))
    expected = f"providers/invented/{file} defines no {member}: {sentence}"
    assert list(lacking(tree, "invented", ("invented",))) == [expected]


def test_a_provider_that_is_not_listed_is_named(tmp_path: Path) -> None:
    expected = "providers/invented is not in NAMES: add its line to providers/__init__.py"
    assert list(lacking(_tree(tmp_path), "invented")) == [expected]
