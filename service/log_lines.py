"""Logging of the services: one line per event on standard error, as JSON or as text, in UTC.

The lines of libraries have the same form: a library logs with the standard library, as
service/logger.py does.
"""

import contextlib
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import structlog
from aiokafka.errors import KafkaError
from structlog.typing import EventDict, Processor, WrappedLogger

from service.errors import Problem, described, quotes_nothing, reason, structured
from service.logger import logger

Form = Literal["json", "console"]

# Libraries at INFO log their own details. aiokafka logs request bodies at DEBUG: never allow that.
_LIBRARIES = {
    "aiokafka": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn": logging.WARNING,
}

# The events of the lines that libraries log, by their loggers' first part.
_LIBRARY_EVENTS = {
    "aiokafka": "kafka_client",
    "opentelemetry": "trace_export",
    "uvicorn": "http_server",
}

# Errors that aiokafka logs and then waits out: the first group on a new cluster.
_WAITED_OUT = ("GroupCoordinatorNotAvailableError",)

# A failed batch fails several futures; Bluetick reads its own, the others are aiokafka's.
_UNREAD_FUTURE = "Future exception was never retrieved"

# While Kafka is unavailable these loggers repeat a line several times a second.
_REPETITIVE = (
    *("aiokafka", "ingest", "opentelemetry", "service.kafka.failures"),
    *("processors.normalising", "processors.runtime.exactly_once.partition_task"),
)
_REPEAT_SECONDS = 60.0
_LINES = 256

_log = logger("bluetick")


class Repeats:
    """The recent log lines, at most `lines`: each is logged once in `seconds`, with a count."""

    def __init__(self, seconds: float = _REPEAT_SECONDS, lines: int = _LINES) -> None:
        self._seconds = seconds
        self._lines = lines
        self._recent: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def logged_before(self, line: str, now: float) -> int | None:
        """Return how often the line was suppressed since it was logged; None to suppress it."""
        at, suppressed = self._recent.get(line, (now - self._seconds, 0))
        if now - at < self._seconds:
            self._recent[line] = at, suppressed + 1
            return None
        self._recent[line] = now, 0
        self._recent.move_to_end(line)
        if len(self._recent) > self._lines:
            self._recent.popitem(last=False)
        return suppressed


def chosen(form: Form | None) -> Form:
    """Return the form of the log lines: as set, or as it suits the reader of standard error."""
    return form or ("console" if sys.stderr.isatty() else "json")


def log_to_stderr(level: str, form: Form = "console", **common: object) -> None:
    """Set up logging; `level` is a name such as INFO, for Bluetick's own modules.

    `common` are the fields that every JSON line has; a service gives its name as `service`.
    """
    as_json: list[Processor] = [_Fields(common), structlog.processors.JSONRenderer(default=str)]
    processors = as_json if form == "json" else [_text]
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors))
    handler.addFilter(_shortened)
    handler.addFilter(_unrepeated(Repeats()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, lowest in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(lowest, logging.getLogger().level))


@contextlib.contextmanager
def without_client_lines() -> Iterator[None]:
    """Log nothing of Kafka's client during the block, whose own error says more."""
    client = logging.getLogger("aiokafka")
    before = client.level
    client.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        client.setLevel(before)


@contextlib.contextmanager
def logging_the_end(form: Form, words: Callable[[Problem], str] = str) -> Iterator[None]:
    """Log the error that ends a service during the block, so that no traceback is printed.

    With text as the form, a problem is left to the command line, which prints it in `words`.
    """
    try:
        yield
    except Problem as problem:
        if form == "json":
            problem.logged = True
            _log.error("problem", message=words(problem), code=problem.code)
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the service
        _log.critical("crashed", error=described(error), exc_info=error)
        sys.exit(1)


class _Fields:
    """The fields of a JSON line, with those that all lines of the process have."""

    def __init__(self, common: Mapping[str, object]) -> None:
        self._common = {name: value for name, value in common.items() if value is not None}

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        record: logging.LogRecord = line["_record"]
        fields = dict(getattr(record, "fields", {}))
        fields.pop("message", None)
        if line.get("exc_info") and line["exc_info"][1]:
            fields["exception"] = structured(line["exc_info"][1])
        library = _LIBRARY_EVENTS.get(record.name.partition(".")[0], "library")
        at = datetime.fromtimestamp(record.created, UTC)
        return {
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", library),
            "message": line["event"],
            "logger": record.name,
            **self._common,
            "pid": os.getpid(),
            **fields,
        }


def _text(_: WrappedLogger, __: str, line: EventDict) -> str:
    """Return a record as a line for people."""
    record: logging.LogRecord = line["_record"]
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    head = f"{at}.{int(record.msecs):03}Z {record.levelname:7} {record.name}:"
    return f"{head} {line['event']}"


def _shortened(record: logging.LogRecord) -> bool:
    """Drop errors that are waited out; make one line of a library's record.

    An exception without a text is shown by its type, a traceback by its calls.
    """
    if not hasattr(record, "event"):
        _name_errors(record)
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            text = record.getMessage()
            if text.startswith(_UNREAD_FUTURE) and isinstance(error, KafkaError):
                return False
            what = repr(error) if quotes_nothing(error) else described(error)
            record.msg, record.args = f"{text.partition(chr(10))[0]}: {what}", ()
    return not any(error in record.getMessage() for error in _WAITED_OUT)


def _name_errors(record: logging.LogRecord) -> None:
    """Replace exceptions without a text among the arguments: "Unable to connect: "."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            reason(one) if isinstance(one, BaseException) and not str(one) else one
            for one in record.args
        )


def _unrepeated(repeats: Repeats) -> Callable[[logging.LogRecord], bool]:
    def once_a_minute(record: logging.LogRecord) -> bool:
        """Log a repeated warning once a minute, with the number of repetitions."""
        if record.levelno < logging.WARNING or not record.name.startswith(_REPETITIVE):
            return True
        line = record.getMessage()
        suppressed = repeats.logged_before(f"{record.name} {line}", time.monotonic())
        if suppressed:
            record.msg, record.args = f"{line} (repeated {suppressed} times)", ()
            record.__dict__["fields"] = {**getattr(record, "fields", {}), "repeated": suppressed}
        return suppressed is not None

    return once_a_minute
