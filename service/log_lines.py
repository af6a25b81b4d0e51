"""Logging of the services: one line per event, on standard error, in UTC."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from aiokafka.errors import KafkaError

# Libraries at INFO log their own details. aiokafka logs request bodies at DEBUG: never allow that.
_LIBRARIES = {"aiokafka": logging.WARNING, "uvicorn": logging.WARNING}


# Errors that aiokafka logs and then waits out: the first group on a new cluster.
_WAITED_OUT = ("GroupCoordinatorNotAvailableError",)

# A failed batch fails several futures; Bluetick reads its own, the others are aiokafka's.
_UNREAD_FUTURE = "Future exception was never retrieved"

# While Kafka is unavailable these loggers repeat a line several times a second.
_REPETITIVE = ("aiokafka", "ingest", "processors.tracking.partition_task")
_REPEAT_SECONDS = 60.0
_LINES = 256


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


def log_to_stderr(level: str) -> None:
    """Set up logging; `level` is a name such as INFO, for Bluetick's own modules."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter(
        "{asctime}.{msecs:03.0f}Z {levelname:7} {name}: {message}", "%Y-%m-%dT%H:%M:%S", style="{"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_without_noise)
    handler.addFilter(_unrepeated(Repeats()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, lowest in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(lowest, logging.getLogger().level))


def _without_noise(record: logging.LogRecord) -> bool:
    """Drop errors that are waited out; shorten tracebacks of aiokafka to one line."""
    if record.name.startswith(("aiokafka", "asyncio")) and record.exc_info:
        if record.getMessage().startswith(_UNREAD_FUTURE) and isinstance(
            record.exc_info[1], KafkaError
        ):
            return False
        first_line = record.getMessage().partition("\n")[0]
        record.msg, record.args = f"{first_line}: {record.exc_info[1]!r}", ()
        record.exc_info = None
    return not any(error in record.getMessage() for error in _WAITED_OUT)


def _unrepeated(repeats: Repeats) -> Callable[[logging.LogRecord], bool]:
    def once_a_minute(record: logging.LogRecord) -> bool:
        """Log a repeated warning once a minute, with the number of repetitions."""
        if record.levelno < logging.WARNING or not record.name.startswith(_REPETITIVE):
            return True
        line = record.getMessage()
        suppressed = repeats.logged_before(f"{record.name} {line}", time.monotonic())
        if suppressed:
            record.msg, record.args = f"{line} (repeated {suppressed} times)", ()
        return suppressed is not None

    return once_a_minute
