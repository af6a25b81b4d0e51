"""The events in the code are those of the list, and docs/log-messages.md explains each."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pytest

from service.log_events import COMMON, EVENTS, FIELDS, notice
from tests import HOME

PAGE = (HOME / "docs/log-messages.md").read_text()
CORE = ("service", "ingest", "processors", "deploy", "providers", "schemas")
CODE = [
    path
    for part in (
        "service",
        "ingest",
        "processors",
        "cli",
        "console",
        "deploy",
        "providers",
        "schemas",
    )
    for path in sorted((HOME / part).rglob("*.py"))
]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = re.compile(r"(self\.)?_?log$")
# The events of libraries' lines, which service/log_lines.py chooses.
OF_LIBRARIES = {"kafka_client", "http_server", "trace_export", "library"}


class Call(NamedTuple):
    """A line that the code logs: where, the event and its fields."""

    where: str
    event: str
    fields: frozenset[str]


def _calls(path: Path) -> Iterator[Call]:
    """Yield the calls of a logger or of `notice`, with the fields that the file binds."""
    calls = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)]
    bound = {
        str(field.arg)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "bind"
        for field in call.keywords
    }
    for call in calls:
        if (event := _event(call)) is not None:
            fields = {str(field.arg) for field in call.keywords} - {"exc_info"}
            yield Call(f"{path.relative_to(HOME)}:{call.lineno}", event, frozenset(fields | bound))


def _event(call: ast.Call) -> str | None:
    """Return the event that a call logs; None if it logs none, or a notice made elsewhere."""
    function = call.func
    logs = (isinstance(function, ast.Name) and function.id == "notice") or (
        isinstance(function, ast.Attribute)
        and function.attr in LEVELS
        and LOGGERS.search(ast.unparse(function.value)) is not None
    )
    if not logs or ast.unparse(call.args[0]).endswith(".event"):
        return None
    event = call.args[0]
    assert isinstance(event, ast.Constant), f"{ast.unparse(call)}: the event is no literal"
    return str(event.value)


@cache
def calls() -> list[Call]:
    return [call for path in CODE for call in _calls(path)]


def test_the_code_is_searched() -> None:
    """Loggers and notices are both found."""
    assert {"service_starting", "partition_recovering", "source_stopped"} <= {
        call.event for call in calls()
    }


def test_each_line_has_an_event_of_the_list_and_its_fields() -> None:
    """A sentence cannot lack a field, and no line has a field that is not listed."""
    for call in calls():
        assert call.event in EVENTS, call.where
        needed = {name for _, name, _, _ in Formatter().parse(EVENTS[call.event]) if name}
        assert needed <= call.fields, call.where
        assert call.fields - {"message"} <= {*FIELDS, *COMMON}, call.where


def test_every_event_and_field_is_in_use() -> None:
    """Nothing is listed that no line has."""
    used = {call.event for call in calls()}
    assert used | OF_LIBRARIES == set(EVENTS)
    fields = {field for call in calls() for field in call.fields}
    assert set(FIELDS) - fields == {"exception", "repeated"}, "which service/log_lines.py adds"


def test_only_the_loggers_of_bluetick_log() -> None:
    """Elsewhere the standard library's logging only sets levels."""
    users = {
        path.relative_to(HOME).as_posix()
        for path in CODE
        if re.search(r"^import logging|^from logging", path.read_text(), re.MULTILINE)
    }
    assert users == {
        "cli/doctor/doctor.py",
        "ingest/publishing/publisher.py",
        "ingest/server.py",
        "service/log_lines.py",
        "service/logger.py",
    }


@pytest.mark.parametrize("name", EVENTS)
def test_names_are_snake_case(name: str) -> None:
    """A name is a stable key for searches, and no field has the name of a common one."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert not set(FIELDS) & (set(COMMON) - {"namespace"})


def test_the_page_explains_every_event() -> None:
    """docs/log-messages.md lists each event once, in order, with its meaning and what to do."""
    events = PAGE.partition("## The events")[2].partition("## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \| (.*?) \|$", events, re.MULTILINE)
    assert [name for name, *_ in rows] == list(EVENTS)
    assert all(meaning for _, _, meaning, _ in rows)


def test_the_page_lists_every_field() -> None:
    """docs/log-messages.md lists each field once, in order, as it is described here."""
    fields = PAGE.partition("## The fields")[2].partition("## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", fields, re.MULTILINE)
    assert rows == [*COMMON.items(), *FIELDS.items()]


def test_a_notice_is_a_sentence() -> None:
    """Health shows what the log says."""
    assert str(notice("spool_used", reason="no answer")) == "webhooks go to the spool: no answer"
