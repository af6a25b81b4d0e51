"""Words that are not plain technical English stay out of docs, help, logs and docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import bluetick
from tests import HOME

BANNED = re.compile(
    r"\b(told|anew|whoever|somebody|nobody|in vain|settle[sd]?|doors?|leash|ground|hungry|sated"
    r"|lanes?|mended|the dead(?![- ]letter))\b",
    re.IGNORECASE,
)
DOCUMENTS = ("docs/**/*.md", "README.md", "CONTRIBUTING.md", "SECURITY.md")
PARTS = (
    "ingest",
    "processors",
    "providers",
    "schemas",
    "service",
    "cli",
    "deploy",
    "bench",
    "console",
)
# Files whose sentences are whole strings of their own, not only docstrings and log lines.
SENTENCES = (
    "service/problem_sentences.py",
    "service/kafka_problem_sentences.py",
    "cli/problem_sentences.py",
)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}

# Files that still have banned words, with the most that each may have. Only lower these numbers.
EXCEPT: dict[str, int] = {}


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_log_call(node: ast.AST) -> bool:
    """Whether a node is a call such as `_log.info(…)` or `logging.getLogger(…).info(…)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in LEVELS and "log" in ast.unparse(node.func.value).lower()


def _docstrings_and_logs(tree: ast.AST) -> Iterator[str]:
    """Yield the docstrings of a file, those of attributes included, and texts of log calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from _strings(node.value)
        elif _is_log_call(node):
            yield from _strings(node)


def _prose(path: Path) -> Iterator[str]:
    text = path.read_text()
    if path.suffix == ".md":
        yield text
    elif str(path.relative_to(HOME)) in SENTENCES:
        yield from _strings(ast.parse(text))
    else:
        yield from _docstrings_and_logs(ast.parse(text))


def _banned(texts: Iterator[str]) -> list[str]:
    return [found.group() for text in texts for found in BANNED.finditer(text)]


def _files() -> list[Path]:
    patterns = (*DOCUMENTS, *(f"{part}/**/*.py" for part in PARTS))
    return sorted({path for pattern in patterns for path in HOME.glob(pattern)})


def _helps(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield each command's name and a help text of it: its own, and those of its options."""
    options = (getattr(one, "help", None) for one in command.params)
    for text in (command.help, command.short_help, command.epilog, *options):
        if text:
            yield name, text
    for sub_name, sub in getattr(command, "commands", {}).items():
        yield from _helps(sub, f"{name} {sub_name}")


def test_files_use_plain_words() -> None:
    """No document, docstring or log line has a banned word, but for the listed exceptions."""
    found = {str(path.relative_to(HOME)): _banned(_prose(path)) for path in _files()}
    above = {name: words for name, words in found.items() if len(words) > EXCEPT.get(name, 0)}
    assert above == {}


def test_exceptions_name_files_that_exist() -> None:
    """A file that is gone has no exception."""
    assert [name for name in EXCEPT if not (HOME / name).is_file()] == []


def test_help_uses_plain_words() -> None:
    """No help text of a command or an option has a banned word."""
    helps = list(_helps(typer.main.get_command(bluetick.app), "bluetick"))
    assert {"bluetick", "bluetick ingest", "bluetick replay run"} <= {name for name, _ in helps}
    assert [(name, text) for name, text in helps if BANNED.search(text)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"""What was told."""', ["told"]),
        ('def f():\n    """The dead letter of the dead."""', ["the dead"]),
        ('_log.info("it begins %s", "anew")', ["anew"]),
        ('log.warning(f"{x} settles")', ["settles"]),
        ('X = 1\n"""In vain."""', ["In vain"]),
        ('print("told")', []),
        ('"""In the background, indoors."""', []),
    ],
)
def test_what_is_found(text: str, words: list[str]) -> None:
    """Docstrings and log texts are searched for whole words; other strings are not."""
    assert _banned(_docstrings_and_logs(ast.parse(text))) == words
