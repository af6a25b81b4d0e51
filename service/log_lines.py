"""Logging of the services: one line an event, on standard error, UTC."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from aiokafka.errors import KafkaError

# What libraries say at INFO is about themselves. aiokafka prints request bodies at DEBUG: never.
_LIBRARIES = {"aiokafka": logging.WARNING, "uvicorn": logging.WARNING}


# What aiokafka calls an error and then waits out: the first group on a fresh cluster.
_WAITED_OUT = ("GroupCoordinatorNotAvailableError",)

# A failed batch fails several futures of aiokafka's; ours is looked at, the rest are its own.
_NOBODYS = "Future exception was never retrieved"

# While Kafka is away these say the same several times a second.
_REPETITIVE = ("aiokafka", "ingest", "processors.tracking.partition_task")
_REPEAT_SECONDS = 60.0
_LINES = 256


class Repeats:
    """Which lines were said lately, at most so many: one is said once a minute, with a count."""

    def __init__(self, seconds: float = _REPEAT_SECONDS, lines: int = _LINES) -> None:
        self._seconds = seconds
        self._lines = lines
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def heard(self, line: str, now: float) -> int | None:
        """None if the line is not to be said now; else how often it was not said meanwhile."""
        at, unsaid = self._said.get(line, (now - self._seconds, 0))
        if now - at < self._seconds:
            self._said[line] = at, unsaid + 1
            return None
        self._said[line] = now, 0
        self._said.move_to_end(line)
        if len(self._said) > self._lines:
            self._said.popitem(last=False)
        return unsaid


def log_to_stderr(level: str) -> None:
    """Set the logging tree up; `level` is a name such as INFO, for our own modules."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter(
        "{asctime}.{msecs:03.0f}Z {levelname:7} {name}: {message}", "%Y-%m-%dT%H:%M:%S", style="{"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_worth_saying)
    handler.addFilter(_unrepeated(Repeats()))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, lowest in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(lowest, logging.getLogger().level))


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what is waited out; of what aiokafka raises by the way, say one line, not the stack."""
    if record.name.startswith(("aiokafka", "asyncio")) and record.exc_info:
        if record.getMessage().startswith(_NOBODYS) and isinstance(record.exc_info[1], KafkaError):
            return False
        told = record.getMessage().partition("\n")[0]
        record.msg, record.args = f"{told}: {record.exc_info[1]!r}", ()
        record.exc_info = None
    return not any(error in record.getMessage() for error in _WAITED_OUT)


def _unrepeated(repeats: Repeats) -> Callable[[logging.LogRecord], bool]:
    def worth_saying(record: logging.LogRecord) -> bool:
        """Say a repeated warning once a minute, and how often it came."""
        if record.levelno < logging.WARNING or not record.name.startswith(_REPETITIVE):
            return True
        line = record.getMessage()
        unsaid = repeats.heard(f"{record.name} {line}", time.monotonic())
        if unsaid:
            record.msg, record.args = f"{line} (repeated {unsaid} times)", ()
        return unsaid is not None

    return worth_saying
