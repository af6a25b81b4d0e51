"""Every problem has a code, fields, and a sentence that fits them."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from string import Formatter

import pytest

from cli.problem_sentences import MESSAGES as ON_THE_COMMAND_LINE
from cli.problem_sentences import CommandProblem, worded
from service.errors import Problem
from service.kafka.access import CONTRADICTIONS
from service.kafka.causes import CAUSES
from service.problem_sentences import MESSAGES, Message, sentence
from tests import HOME

CORE = ("console", "deploy", "ingest", "processors", "providers", "schemas", "service")
# Options of other programs; those of whole commands are in the catalogue.
OPTIONS_ALLOWED = {
    "deploy/local_kafka/broker.py": "of Kafka's own tools",
    "console/command.py": "of the command itself",
    "deploy/acls.py": "of Kafka's own tools",
    "service/kafka_problem_sentences.py": "of Kafka's own tools",
    "service/problem_sentences.py": "in whole commands",
}
COMMAND = re.compile(
    r"\bbluetick (up|ingest|normalise|track|parse|send|tail|archive|rebuild|diff|topics|sources"
    r"|spool|dead-letters|replay|namespace|config|doctor|forget|group|transactions|console)\b"
)


def _calls(*names: str, parts: tuple[str, ...]) -> Iterator[tuple[str, ast.Call]]:
    for part in parts:
        for path in sorted((HOME / part).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _called(node.func) in names:
                    yield f"{path.relative_to(HOME)}:{node.lineno}", node


def _called(function: ast.expr) -> str | None:
    """Return the last name of what is called, as in `name()` and `module.name()`."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None


def _code(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return str(first.value) if isinstance(first, ast.Constant) else None


def _fields(message: Message) -> set[str]:
    """Return the fields that a message needs; for a function also its optional ones."""
    if callable(message):
        return set(inspect.signature(message).parameters)
    return {name for _, name, _, _ in Formatter().parse(message) if name}


def _needed(message: Message) -> set[str]:
    """Return the fields without which a message cannot be worded."""
    if not callable(message):
        return _fields(message)
    parameters = inspect.signature(message).parameters.values()
    return {one.name for one in parameters if one.default is one.empty}


def _given(call: ast.Call) -> set[str] | None:
    """Return the fields of a raised problem; None if some are in a mapping."""
    names = {one.arg for one in call.keywords}
    return None if None in names else {name for name in names if name}


@cache
def _raised() -> dict[str, list[tuple[str, ast.Call]]]:
    found: dict[str, list[tuple[str, ast.Call]]] = {}
    for where, call in _calls("Problem", "sentence", parts=(*CORE, "cli")):
        code = _code(call)
        if code is not None:
            found.setdefault(code, []).append((where, call))
    return found


# Codes that pure tables choose; their own tests make each sentence with its fields.
COMPUTED = {*CAUSES, *CONTRADICTIONS}


@pytest.mark.parametrize("code", sorted(MESSAGES.keys() - COMPUTED))
def test_every_message_is_of_a_code_with_its_fields(code: str) -> None:
    """No message is left over, and each has the fields its problem is raised with."""
    assert code in _raised(), "nothing has this code"
    for where, call in _raised()[code]:
        given = _given(call)
        if given is not None and ast.unparse(call.func) == "Problem":
            assert given == _fields(MESSAGES[code]), where


def test_every_code_has_a_message() -> None:
    """A problem raised with a sentence in place of a code fails here."""
    places = {code: where for code, [(where, _), *_] in _raised().items()}
    assert {code: where for code, where in places.items() if code not in MESSAGES} == {}


def test_a_command_has_sentences_for_its_own_problems() -> None:
    """A code of a command is unique, and its sentence has the given fields."""
    for where, call in _calls("CommandProblem", parts=("cli", "bench")):
        code, words = (ast.literal_eval(argument) for argument in call.args)
        assert code not in MESSAGES, where
        assert _given(call) == _fields(words), where


def test_the_command_line_has_its_own_sentence_for_some_codes() -> None:
    """Its own sentences name an option, and have the same fields."""
    for code, message in ON_THE_COMMAND_LINE.items():
        words = inspect.getsource(message) if callable(message) else message
        assert re.search(r"--[a-z]", words), code
        assert _needed(message) <= _fields(MESSAGES[code]), code


def test_the_core_names_no_option_and_no_command() -> None:
    """A web page has no command line on which to give an option."""
    found = []
    for part in CORE:
        for path in sorted((HOME / part).rglob("*.py")):
            name = path.relative_to(HOME).as_posix()
            if name in OPTIONS_ALLOWED:
                continue
            tree = ast.parse(path.read_text())
            docstrings = {
                node.body[0].value
                for node in ast.walk(tree)
                if isinstance(
                    node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
                )
                if node.body and isinstance(node.body[0], ast.Expr)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                    if node not in docstrings and (
                        re.search(r"(^|\s)--[a-z]", text) or COMMAND.search(text)
                    ):
                        found.append(f"{name}:{node.lineno}: {text}")
    assert found == []


def test_the_catalogue_names_options_in_whole_commands_only() -> None:
    """An option alone is for cli/problem_sentences.py."""
    text = (HOME / "service/problem_sentences.py").read_text()
    strings = [
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for one in strings:
        for option in re.finditer(r"--[a-z]+", one):
            before = one[: option.start()]
            assert COMMAND.search(before) or before.strip() == "", one


def test_a_problem_is_a_sentence_with_a_code_and_fields() -> None:
    """The sentence contains the fields; the command line has its own sentence for some codes."""
    problem = Problem("range_backwards", since="B", until="A")
    assert (problem.code, problem.fields) == ("range_backwards", {"since": "B", "until": "A"})
    assert str(problem).endswith("B, which is not before its end, A; swap them")
    assert worded(problem).endswith("; swap --from and --to")
    other = CommandProblem("odd", "{name!r} is not in {known}", name="{x}", known=["a", "b"])
    assert str(other) == worded(other) == "'{x}' is not in a, b"
    assert other.fields == {"name": "{x}", "known": ["a", "b"]}


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("a.raw.whapi", "bluetick replay run --archive URL --provider whapi --offsets 3:2-7"),
        ("a.b.raw.smsmanager", "--archive URL --provider smsmanager --offsets 3:2-7"),
        # Its offsets are not those of the raw topics.
        ("a.observations", "replay their bodies by time: bluetick replay run --from TIME"),
    ],
)
def test_the_remedy_fits_the_topic(topic: str, expected: str) -> None:
    """Lost raw records are in an archive; lost observations are on the raw topics."""
    fields: Mapping[str, object] = {
        "topic": topic,
        "partition": 3,
        "offset": 2,
        "begin": 7,
        "received_before": "",
    }
    assert f"{expected}), then" in sentence("retention_overtook", fields)


@pytest.mark.parametrize(
    ("topic", "group"),
    [("ns.raw.acme", "normalise"), ("ns.observations", "track"), ("ns.messages", "measure")],
)
def test_records_that_retention_deleted_name_the_group_to_move(topic: str, group: str) -> None:
    fields = {"topic": topic, "partition": 1, "offset": 5, "begin": 9, "received_before": ""}
    text = sentence("retention_overtook", fields)
    assert "retention deleted 4 unprocessed records, 5 to 8; " in text
    assert text.endswith(f"bluetick group move {group} {topic} --partition 1 --to 9")
