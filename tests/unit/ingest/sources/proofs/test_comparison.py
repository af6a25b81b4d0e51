"""Secrets are compared in one place of ingest, in constant time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.sources.proofs import comparison
from ingest.sources.proofs.comparison import among
from tests import HOME

PROOFS = sorted((HOME / "ingest/sources/proofs").glob("*.py"))

# Every other comparison in the proofs; none compares a secret.
KNOWN = {
    "len(given) <= _MOST_SIGNATURES",
    "len(key) >= LEAST_KEY",
    "len(secret) >= LEAST_BYTES",
    "len(values) == 1",
    "name == wanted",
    "scheme.lower() != self.scheme",
    "self.encoding == 'hex'",
    "value.lower() in _STORED",
    "':' in value",
    "min((abs(clock - sent_at * 1000) for clock in now)) <= TOLERANCE * 1000",
}


def _comparisons(path: Path) -> Iterator[str]:
    """Yield every comparison whose time could depend on the compared values."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare) and not all(
            isinstance(operator, (ast.Is, ast.IsNot)) for operator in node.ops
        ):
            yield ast.unparse(node)


def _calls(path: Path) -> list[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]


def test_proofs_compare_nothing_secret_themselves() -> None:
    """All other comparisons are listed above, and compare no secret."""
    assert {text for path in PROOFS for text in _comparisons(path)} == KNOWN


@pytest.mark.parametrize("path", PROOFS, ids=lambda path: str(path.stem))
def test_no_proof_stops_at_the_first_match(path: Path) -> None:
    """`any`, `all` and `next` end early."""
    assert not {"any", "all", "next"} & set(_calls(path))


def test_one_place_compares_secrets() -> None:
    """No other file of ingest compares in constant time."""
    users = [
        path
        for path in (HOME / "ingest").rglob("*.py")
        if any(name.endswith("compare_digest") for name in _calls(path))
    ]
    assert users == [Path(comparison.__file__)]


def test_the_comparison_goes_to_its_end() -> None:
    """It returns only from its last statement."""
    tree = ast.parse(Path(comparison.__file__).read_text())
    [function] = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "compare_digest" in ast.unparse(node)
    ]
    exits = (ast.Break, ast.Return, ast.Raise, ast.If, ast.BoolOp, ast.While)
    found = [node for node in ast.walk(function) if isinstance(node, exits)]
    assert [type(node) for node in found] == [ast.Return]
    assert found == function.body[-1:]


@pytest.mark.parametrize(
    ("given", "candidates", "expected"),
    [
        ([], [b"a"], False),
        ([b"a"], [], False),
        ([b"a"], [b"b", b"a"], True),
        ([b"x", b"b"], [b"b", b"a"], True),
        ([b"A"], [b"a"], False),
        ([b""], [b"a"], False),
    ],
)
def test_one_of_the_given_is_enough(
    given: list[bytes], candidates: list[bytes], *, expected: bool
) -> None:
    assert among(given, candidates) is expected
