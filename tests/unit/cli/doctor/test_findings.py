"""Each finding has its sentences, with the fields that the checks give."""

import ast
from string import Formatter

import pytest

from cli.doctor.findings import WORDS, Finding, failed
from tests import HOME

CHECKS = (*sorted((HOME / "cli/doctor").glob("*_checks.py")), HOME / "cli/doctor/doctor.py")
# Checks that choose one of several codes name them in a mapping or a condition.
COMPUTED = {
    "foreign_topic_missing",
    "group_beyond_log",
    "group_overtaken",
    "partition_below_min_isr",
    "partition_under_replicated",
    "partition_without_leader",
    "topic_missing",
}


def _calls() -> list[ast.Call]:
    return [
        node
        for path in CHECKS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"
    ]


def _code(call: ast.Call) -> str | None:
    second = call.args[1]
    return str(second.value) if isinstance(second, ast.Constant) else None


def _fields(code: str) -> set[str]:
    texts = [text for text in WORDS[code] if isinstance(text, str)]
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


def test_every_code_is_used_and_has_words() -> None:
    """No sentence is left over, and no finding is without one."""
    used = {code for call in _calls() if (code := _code(call))}
    assert used.isdisjoint(COMPUTED)
    assert used | COMPUTED == set(WORDS)
    sources = "".join(path.read_text() for path in CHECKS)
    assert [code for code in COMPUTED if f'"{code}"' not in sources] == []


@pytest.mark.parametrize("call", _calls(), ids=lambda call: str(call.lineno))
def test_a_finding_has_the_fields_of_its_words(call: ast.Call) -> None:
    """Fields in a mapping cannot be read here: the tests of the checks print those."""
    given = {one.arg for one in call.keywords}
    code = _code(call)
    if code and None not in given:
        assert _fields(code) <= given, code


def test_words_end_without_a_full_stop() -> None:
    """The table and other programs put them together."""
    for texts in WORDS.values():
        assert not any(str(text).endswith(".") for text in texts)


def test_only_problems_fail() -> None:
    """A warning has no effect on the exit code."""
    found = [Finding("warning", "part_failed", why="x"), Finding("ok", "part_skipped")]
    assert not failed(found)
    assert failed([*found, Finding("problem", "part_failed", why="x")])
    assert found[0].message == "it could not be checked: x"
