"""Log lines: as JSON or text, of Bluetick and of libraries; repeated ones once a minute."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from processors.runtime.exactly_once import partition_task
from service.errors import Problem, reason
from service.log_lines import (
    Repeats,
    chosen,
    log_to_stderr,
    logging_the_end,
    without_client_lines,
)

CANARY = "420777123456"
_log = partition_task.log  # its name is one of those whose lines are limited


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    libraries = {name: logging.getLogger(name).level for name in ("aiokafka", "uvicorn")}
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in libraries.items():
        logging.getLogger(name).setLevel(level)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def _raised(error: Exception) -> Exception:
    """Return the error with a traceback."""
    try:
        raise error  # noqa: TRY301
    except Exception as caught:  # noqa: BLE001
        return caught


def test_a_line_is_logged_once_a_minute_with_a_count() -> None:
    """Suppressed lines are counted; the first line of the next minute has the count."""
    repeats = Repeats(seconds=60)
    counts = [repeats.logged_before("away", now) for now in (0, 1, 59.9, 60, 61, 200)]
    assert counts == [0, None, None, 2, None, 1]


def test_other_lines_are_not_suppressed() -> None:
    """Each line has a count of its own."""
    repeats = Repeats(seconds=60)
    assert [repeats.logged_before(line, 0) for line in ("one", "two", "one")] == [0, 0, None]


def test_it_remembers_a_limited_number_of_lines() -> None:
    """A line that newer ones have displaced is logged again."""
    repeats = Repeats(seconds=60, lines=2)
    lines = ("one", "two", "three", "one")
    assert [repeats.logged_before(line, 0) for line in lines] == [0, 0, 0, 0]


def test_only_repetitive_loggers_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings of Kafka's client are logged once; other lines each time."""
    log_to_stderr("INFO")
    for name in ("aiokafka.client", "processors.runtime.exactly_once.end_open_transactions"):
        for _ in range(3):
            logging.getLogger(name).error("Unable connect to %s", "node 1")
    logging.getLogger("ingest.delivery").info("empty")
    logging.getLogger("ingest.delivery").info("empty")
    said = [line.split()[2].rstrip(":") for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "aiokafka.client",
        *["processors.runtime.exactly_once.end_open_transactions"] * 3,
        *["ingest.delivery"] * 2,
    ]


def test_a_repeated_line_counts_in_a_field(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence and the field `repeated` have the count, also of a library's line."""
    log_to_stderr("INFO", "json")
    for now in (0, 1, 2, 70):
        monkeypatch.setattr("service.log_lines.time.monotonic", lambda now=now: 1000.0 + now)
        _log.warning("partition_recovering", topic="t", partition=3, reason="away")
        logging.getLogger("aiokafka").warning("away")
    once = [line for line in _lines(capsys) if "repeated" in line]
    assert [(line["repeated"], line["message"]) for line in once] == [
        (2, "t[3]: away; recovering (repeated 2 times)"),
        (2, "away (repeated 2 times)"),
    ]


def test_a_line_of_bluetick_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The fields of the process come before those of the event; unset ones are absent."""
    log_to_stderr("INFO", "json", service="track", namespace="shop", instance=None)
    _log.warning("partition_recovering", topic="shop.observations", partition=3, reason="away")
    _log.debug("partition_fenced", topic="shop.observations", partition=3)
    [line] = _lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    common = ("level", "event", "message", "logger", "service", "namespace", "pid")
    assert list(line) == [*common, "topic", "partition", "reason"]
    assert line == {
        "level": "warning",
        "event": "partition_recovering",
        "message": "shop.observations[3]: away; recovering",
        "logger": partition_task.__name__,
        "service": "track",
        "namespace": "shop",
        "pid": os.getpid(),
        "topic": "shop.observations",
        "partition": 3,
        "reason": "away",
    }


def test_the_same_line_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Text has time, level, logger and sentence."""
    log_to_stderr("INFO", "console", service="track", namespace="shop")
    _log.warning("partition_recovering", topic="shop.observations", partition=3, reason="away")
    time, rest = capsys.readouterr().err.split(" ", 1)
    assert time.endswith("Z")
    assert rest == (f"WARNING {partition_task.__name__}: shop.observations[3]: away; recovering\n")


def test_any_value_is_json_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Paths that are not text, line ends and lists."""
    log_to_stderr("INFO", "json")
    path = Path(os.fsdecode(b"/spool/\xff\n"))
    _log.warning("spool_not_listed", directory=path, reason="one\ntwo")
    _log.info("transaction_left_open", partition=1, time="t", topics=["a", "b"], outcome="aborted")
    first, second = _lines(capsys)
    assert (first["directory"], first["reason"]) == (str(path), "one\ntwo")
    assert second["topics"] == ["a", "b"]
    assert " open on a, b; it is aborted" in second["message"]


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("aiokafka.conn", "kafka_client"),
        ("uvicorn.error", "http_server"),
        ("asyncio", "library"),
        ("py.warnings", "library"),
    ],
)
def test_a_line_of_a_library(name: str, event: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the form of Bluetick's lines."""
    log_to_stderr("INFO", "json", service="ingest")
    logging.getLogger(name).warning("node %s: 100 %% %s", 1, "busy")
    [line] = _lines(capsys)
    assert (line["event"], line["message"]) == (event, "node 1: 100 % busy")
    assert (line["logger"], line["service"]) == (name, "ingest")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "TimeoutError"),
        (asyncio.CancelledError(), "CancelledError"),
        (NodeNotReadyError(), "NodeNotReadyError"),
        (KafkaConnectionError(""), "KafkaConnectionError"),
        (OSError(111, "refused"), "[Errno 111] refused"),
    ],
)
def test_no_reason_is_empty(
    error: BaseException, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception without a text is named by its type, in Bluetick's lines and in libraries'."""
    assert reason(error) == words
    log_to_stderr("INFO", "json")
    _log.warning("progress_unknown", reason=error)
    logging.getLogger("aiokafka.client").error("Unable connect to node with id %s: %s", 1, error)
    own, library = _lines(capsys)
    assert own["message"] == f"normalise's progress is not known: {words}"
    assert own["reason"] == words
    assert library["message"].startswith("Unable connect to node with id 1: ")
    assert words in library["message"]


def test_an_exception_is_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    """Type and frames; the text only of errors that cannot quote a webhook."""
    log_to_stderr("INFO", "json")
    for error in (ValueError(CANARY), NodeNotReadyError("node 1")):
        fields = {"task": "the drain", "error": type(error).__name__, "seconds": 1}
        _log.error("task_failed", **fields, exc_info=_raised(error))
    quoting, known = (line["exception"] for line in _lines(capsys))
    assert quoting["type"] == "ValueError"
    assert [frame.partition(":")[0] for frame in quoting["frames"]] == ["test_log_lines.py"]
    assert set(quoting) == {"type", "frames"}
    assert known["text"] == "NodeNotReadyError: node 1"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("name", ["aiokafka.consumer", "asyncio", "uvicorn.error", "any.library"])
def test_a_library_logs_no_text_of_an_unexpected_error(
    name: str, form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the calls, without a traceback: the text may quote a webhook."""
    log_to_stderr("INFO", form)
    error = _raised(ValueError(CANARY))
    logging.getLogger(name).error("Task failed\nfuture: %r", error, exc_info=error)
    [line] = capsys.readouterr().err.splitlines()
    assert "Task failed: ValueError, test_log_lines.py:" in line
    assert CANARY not in line


def test_a_problem_that_ends_a_service_is_a_json_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command line then does not print it; as text it prints it itself."""
    for form in ("json", "console"):
        log_to_stderr("INFO", form)
        problem = Problem("unknown_setting", settings=["BLUETICK_PROT"])
        with pytest.raises(Problem), logging_the_end(form):
            raise problem
        assert problem.logged == (form == "json")
    [line] = _lines(capsys)
    assert (line["level"], line["event"], line["code"]) == ("error", "problem", "unknown_setting")
    assert line["message"] == "there is no setting BLUETICK_PROT; see docs/settings.md"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_crash_is_one_line(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, and not the text of the error."""
    log_to_stderr("INFO", form)
    with pytest.raises(SystemExit) as ended, logging_the_end(form):
        raise ValueError(CANARY)
    assert ended.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "an unexpected error ended the process: ValueError, log_lines.py:" in line
    assert CANARY not in line


def test_the_form_suits_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text on a terminal, else JSON; a setting overrides that."""
    for terminal, form in ((True, "console"), (False, "json")):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        assert chosen(None) == form
    assert [chosen(form) for form in ("json", "console")] == ["json", "console"]


def test_kafkas_client_is_silent_during_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines come back after the block."""
    log_to_stderr("INFO", "json")
    with without_client_lines():
        logging.getLogger("aiokafka.client").error("one")
    logging.getLogger("aiokafka.client").error("two")
    assert [line["message"] for line in _lines(capsys)] == ["two"]
